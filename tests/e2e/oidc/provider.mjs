// An OpenID Connect provider on 127.0.0.1 for the end-to-end tests: the package oidc-provider, which issues
// JWT access tokens (RFC 9068) to programs (grant client_credentials).
//
//     node provider.mjs <file>
//
// The file is JSON: `port`; `keys`, private JWKs of which the first for an algorithm signs; `algorithm`;
// `seconds` that a token lives; `clients`, each with its `secret` and the `claims` that its tokens get. It
// says "ready" once it listens, and ends with SIGTERM.
import { readFileSync } from 'node:fs';
import { Provider, errors } from 'oidc-provider';

const { port, keys, algorithm, seconds, clients } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys },
  clients: Object.entries(clients).map(([id, { secret }]) => ({
    client_id: id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  // Without it a client wants an RSA key, whatever signs its tokens.
  clientDefaults: { id_token_signed_response_alg: algorithm },
  extraTokenClaims: (_ctx, token) => clients[token.clientId].claims,
  ttl: { ClientCredentials: seconds },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => {
        if (!resource.startsWith('https://')) throw new errors.InvalidTarget();
        return {
          scope: '',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm } },
        };
      },
    },
  },
});

provider.listen(port, '127.0.0.1', () => console.log('ready'));
