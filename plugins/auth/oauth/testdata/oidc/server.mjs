// A certified authorization server for the tests: oidc-provider on a free port of
// loopback. It prints {"issuer": …} when it is ready, and ends when its standard
// input does, so that it never outlives the test that started it.
//
// The clients that tests use are in the JSON that is the first argument. How long a
// token lives is in its resource: "…?ttl=3" is three seconds. Clients whose ID ends
// in "-nonce" must put the server's nonce into DPoP proofs.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

// This file is run from the folder of the sources, oidc-provider installed elsewhere.
const { default: Provider, errors } = await import(pathToFileURL(process.argv[2]).href);
const { clients } = JSON.parse(process.argv[3]);

const server = createServer();
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const issuer = `http://127.0.0.1:${server.address().port}`;

const lifetime = (ctx, token) => token.resourceServer?.accessTokenTTL ?? 3600;

const provider = new Provider(issuer, {
  clients,
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
      getResourceServerInfo: async (ctx, resource) => {
        const url = new URL(resource);
        if (url.pathname === '/foreign') throw new errors.InvalidTarget();
        return {
          scope: 'mcp:read mcp:write mcp:admin',
          audience: resource,
          accessTokenTTL: Number(url.searchParams.get('ttl') ?? 3600),
          accessTokenFormat: url.searchParams.has('jwt') ? 'jwt' : 'opaque',
        };
      },
    },
  },
});
provider.on('server_error', (ctx, err) => { console.error(err); });
server.on('request', provider.callback());

process.stdin.resume();
process.stdin.on('end', () => { process.exit(0); });
console.log(JSON.stringify({ issuer }));
