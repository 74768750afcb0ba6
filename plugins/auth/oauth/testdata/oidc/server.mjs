// A certified authorization server for the tests: oidc-provider on a free port of
// loopback. It prints {"issuer": …} when it is ready, and ends when its standard
// input does, so that it never outlives the test that started it.
//
// The clients that tests use are in the JSON that is the first argument, and so are the
// client ID metadata documents that the server would find in the web, by URL. How long a
// token lives is in its resource: "…?ttl=3" is three seconds. Clients whose ID ends
// in "-nonce" must put the server's nonce into DPoP proofs.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

// This file is run from the folder of the sources, oidc-provider installed elsewhere.
const { default: Provider, errors } = await import(pathToFileURL(process.argv[2]).href);
const { clients, documents } = JSON.parse(process.argv[3]);

const server = createServer();
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const issuer = `http://127.0.0.1:${server.address().port}`;

const lifetime = (ctx, token) => token.resourceServer?.accessTokenTTL ?? 3600;

const resourceServer = async (ctx, resource) => {
  const url = new URL(resource);
  if (url.pathname === '/foreign') throw new errors.InvalidTarget();
  return {
    scope: 'mcp:read mcp:write mcp:admin',
    audience: resource,
    accessTokenTTL: Number(url.searchParams.get('ttl') ?? 3600),
    accessTokenFormat: url.searchParams.has('jwt') ? 'jwt' : 'opaque',
  };
};

const provider = new Provider(issuer, {
  clients,
  // Everything but the way to the document is the server's own.
  fetch: async (url) => (documents[url] ? Response.json(documents[url]) : new Response('', { status: 404 })),
  scopes: ['openid', 'offline_access'],
  cookies: { keys: [randomBytes(16).toString('hex')] },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: lifetime, ClientCredentials: lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600,
    AuthorizationCode: 60, DeviceCode: 60, IdToken: 60, Interaction: 60,
  },
  features: {
    clientCredentials: { enabled: true },
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    dPoP: {
      enabled: true,
      nonceSecret: randomBytes(32),
      requireNonce: (ctx) => ctx.oidc.client?.clientId.endsWith('-nonce') ?? false,
    },
    introspection: { enabled: true, allowedPolicy: async (ctx, client) => client.clientId === 'resource-server' },
    registration: { enabled: true },
    revocation: { enabled: true, allowedPolicy: async () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => undefined,
      useGrantedResource: async () => false,
      getResourceServerInfo: resourceServer,
    },
  },
});
// The server has no token exchange (RFC 8693) of its own. It reads and checks the request,
// authenticates the client and issues the token; what to make of the subject is ours.
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessToken = 'urn:ietf:params:oauth:token-type:access_token';
provider.registerGrantType(exchange, async (ctx) => {
  const { client, params } = ctx.oidc;
  const subject = await provider.AccessToken.find(params.subject_token);
  if (!subject || params.subject_token_type !== accessToken) throw new errors.InvalidGrant('no such subject token');
  const grant = new provider.Grant({ accountId: subject.accountId, clientId: client.clientId });
  grant.addResourceScope(params.resource, params.scope);
  const token = new provider.AccessToken({
    accountId: subject.accountId, client, grantId: await grant.save(), gty: exchange, scope: params.scope,
  });
  token.resourceServer = new provider.ResourceServer(params.resource, await resourceServer(ctx, params.resource));
  ctx.body = {
    access_token: await token.save(), issued_token_type: accessToken, token_type: token.tokenType,
    expires_in: token.expiration, scope: token.scope,
  };
}, ['audience', 'requested_token_type', 'resource', 'scope', 'subject_token', 'subject_token_type']);
provider.on('server_error', (ctx, err) => { console.error(err); });
server.on('request', provider.callback());

process.stdin.resume();
process.stdin.on('end', () => { process.exit(0); });
console.log(JSON.stringify({ issuer }));
