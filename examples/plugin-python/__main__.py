"""A plugin in Python: it sends a token that a command prints, or one it was given.

It speaks the protocol of sdk/proto/README.md with grpcio alone. The messages are read
from the frozen descriptors of version 1, v1.binpb, which stand beside this file:
python3 -m zipapp makes one executable of both.
"""

import asyncio
import json
import os
import pkgutil
import shutil
import signal
import sys
import threading

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # the children are commands, not us

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf import duration_pb2, timestamp_pb2  # noqa: F401 (known to the pool)

COOKIE = "d7b1f0c1-mcpool-plugin"
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "command": {"type": "array", "items": {"type": "string"}},
        "token": {"type": "string", "writeOnly": True},
    },
}
DESCRIPTION = {
    "name": "python-token",
    "version": "1.0.0",
    "summary": "It sends a token that a command prints.",
    "kinds": [{"name": "auth", "majors": [1], "headers": ["Authorization"], "config": SCHEMA}],
}


def load_messages():
    """Returns a function that finds message classes by their full name."""
    pool = descriptor_pool.Default()
    for f in descriptor_pb2.FileDescriptorSet.FromString(pkgutil.get_data("__main__", "v1.binpb")).file:
        if not f.name.startswith("google/protobuf/"):
            pool.Add(f)
    status = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto", package="google.rpc", syntax="proto3",
        dependency=["google/protobuf/any.proto"])
    m = status.message_type.add(name="Status")
    kinds = descriptor_pb2.FieldDescriptorProto
    m.field.add(name="code", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    m.field.add(name="message", number=2, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    m.field.add(name="details", number=3, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED,
                type_name=".google.protobuf.Any")
    pool.Add(status)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


class Failed(Exception):
    """An error that crosses the wire: causes are keyword arguments of mcpool.base.v1.Cause."""

    def __init__(self, message, *causes, downstream=False):
        super().__init__(message)
        self.causes, self.downstream = causes, downstream


CODE_REJECTED, CODE_UNSUPPORTED, CODE_CONFIG, CODE_NO_INSTANCE = 1, 3, 5, 10


def wrong(field, problem):
    return Failed(f"config: {field} {problem}", {"code": CODE_CONFIG, "field": field, "problem": problem})


def parse(config, secrets):
    """Reads a configuration strictly. Errors name the field and show no value."""
    try:
        doc = json.loads(config or b"{}")
    except ValueError:
        doc = None
    if not isinstance(doc, dict):
        raise wrong("the configuration", "is not a JSON object")
    for name in doc:
        if name == "token":
            raise wrong(name, "is a secret and stands in the configuration: deliver it among the secrets")
        if name != "command":
            raise wrong(name, "is not a field of this plugin")
    for name in secrets:
        if name != "token":
            raise wrong(name, "is not a secret of this plugin")
    command = doc.get("command", [])
    if not isinstance(command, list) or not all(isinstance(a, str) for a in command):
        raise wrong("command", "is not a list of strings")
    if bool(command) == bool(secrets.get("token")):
        raise wrong("command", "or the secret token must be set, one of them")
    return command, secrets.get("token", b"").decode()


class Plugin:
    def __init__(self):
        self.message = load_messages()
        self.instances = {}  # name: (what it was opened with, command, token)
        self.ending = False

    def handlers(self):
        base, auth = "mcpool.base.v1", "mcpool.auth.v1"
        for package, service, methods in (
            (base, "PluginService", ("Describe", "Validate", "Open", "CloseInstance", "Health", "Shutdown")),
            (auth, "AuthService", ("Credentials", "Challenge")),
        ):
            yield grpc.method_handlers_generic_handler(f"{package}.{service}", {
                name: grpc.unary_unary_rpc_method_handler(
                    self.call(getattr(self, name.lower()), self.message(f"{package}.{name}Response")),
                    request_deserializer=self.message(f"{package}.{name}Request").FromString,
                    response_serializer=lambda m: m.SerializeToString())
                for name in methods})

        async def check(_request, _context):
            return b"\x08\x01"  # SERVING

        yield grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})

    def call(self, method, response):
        async def handle(request, context):
            try:
                return response(**(await method(request) or {}))
            except Failed as e:
                await self.fail(context, e)
            except Exception as e:  # its text may hold anything: the type has to do
                await self.fail(context, Failed(f"failed with a {type(e).__name__}"))
        return handle

    async def fail(self, context, e):
        failure = self.message("mcpool.base.v1.Failure")(
            message=str(e), causes=e.causes, origin=2 if e.downstream else 1)
        detail = any_pb2.Any()
        detail.Pack(failure)
        status = self.message("google.rpc.Status")(code=2, message=str(e), details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(grpc.StatusCode.UNKNOWN, str(e))

    async def describe(self, _request):
        kinds = [{k: v for k, v in kind.items() if k != "config"} | {"config_schema": json.dumps(kind["config"])}
                 for kind in DESCRIPTION["kinds"]]
        return {**DESCRIPTION, "kinds": kinds}

    async def validate(self, request):
        self.kind(request)
        parse(request.config, request.secrets)

    async def open(self, request):
        self.kind(request)
        content = (request.config, tuple(sorted(request.secrets.items())))
        held = self.instances.get(request.instance)
        if held and held[0] != content:
            raise Failed("an instance of that name is open already, with another configuration")
        self.instances[request.instance] = (content, *parse(request.config, request.secrets))

    def kind(self, request):
        if request.kind != "auth" or request.major != 1:
            raise Failed("this plugin is of the kind auth, major 1", {"code": CODE_UNSUPPORTED})

    def instance(self, request):
        held = self.instances.get(request.instance)
        if not held:
            raise Failed("there is no such instance", {"code": CODE_NO_INSTANCE})
        return held

    async def closeinstance(self, request):
        self.instances.pop(request.instance, None)

    async def health(self, _request):
        pass

    async def shutdown(self, _request):
        self.ending = True
        self.instances.clear()

    async def credentials(self, request):
        _, command, token = self.instance(request)
        if command:
            token = await self.output(command)
        return {"headers": [{"name": "Authorization", "values": [b"Bearer " + token.encode()]}]}

    async def output(self, command):
        """Runs the command. It ends with the call."""
        try:
            child = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE)
        except OSError as e:
            raise Failed(f"the command cannot be run: {e.strerror}", downstream=True) from None
        try:
            out, _ = await child.communicate()
        finally:
            if child.returncode is None:
                child.kill()
        token = out.decode(errors="replace").strip()
        if child.returncode != 0 or not token.isascii() or not token.isprintable() or not token:
            raise Failed("the command printed no token", {"code": CODE_REJECTED}, downstream=True)
        return token

    async def challenge(self, request):
        _, command, _ = self.instance(request)
        return {"outcome": 2 if command else 1}  # Retry: the command may print another; GiveUp


def watch(lifeline, plugin):
    """Waits until the host is gone or lets go, and then ends everything."""
    while os.read(lifeline, 4096):
        pass
    run_dir = os.environ.get("MCPOOL_RUN_DIR", "")
    # After a Shutdown the host tidies up: the messages of version 1 do not say whether it needs the folder.
    if not plugin.ending and os.path.isabs(run_dir) and os.path.basename(run_dir).startswith("mcpool-"):
        shutil.rmtree(run_dir, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


async def serve():
    for s in (signal.SIGTERM, signal.SIGINT):  # for the host to handle; children do not inherit this
        signal.signal(s, lambda *_: None)
    plugin, limit = Plugin(), int(os.environ.get("MCPOOL_MAX_MESSAGE_BYTES", 16 << 20))
    server = grpc.aio.server(options=[
        ("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)])
    server.add_generic_rpc_handlers(tuple(plugin.handlers()))
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin.sock")
    server.add_insecure_port("unix:" + path)
    await server.start()
    threading.Thread(target=watch, args=(int(os.environ["MCPOOL_LIFELINE"]), plugin), daemon=True).start()
    print(f"1|1|unix|{path}|grpc|", flush=True)
    await server.wait_for_termination()


def main():
    if "--describe" in sys.argv[1:]:
        print(json.dumps(DESCRIPTION))
    elif os.environ.get("MCPOOL_PLUGIN") != COOKIE:
        print(f"{DESCRIPTION['name']} is a plugin for mcpool. {DESCRIPTION['summary']}\n"
              "A program that uses mcpool starts it. --describe prints what it is as JSON.", file=sys.stderr)
        sys.exit(2)
    elif os.environ.get("PLUGIN_CLIENT_CERT"):
        print("mutual TLS is not supported here: use a Unix socket", file=sys.stderr)
        sys.exit(1)
    else:
        asyncio.run(serve())


main()
