// A certified OpenID provider with its own login and consent pages. `node provider.mjs PORT REDIRECT_URI`
// POST /control {"login": ["group", ...]} says who is in which groups; GET /evil?to=URL is another site's page that posts a form to URL.
import { Provider } from 'oidc-provider';

const [port, redirect] = process.argv.slice(2);
const groups = {};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'gateway', client_secret: 'client secret+', redirect_uris: [redirect], response_types: ['code'],
    grant_types: ['authorization_code'], token_endpoint_auth_method: 'client_secret_basic',
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username', 'groups'] },
  scopes: ['openid', 'email', 'profile'],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({
      sub: `sub-${id}`, email: `${id}@ours.example`, email_verified: true, name: id, preferred_username: id, groups: groups[id] ?? [],
    }),
  }),
  cookies: { keys: ['of this run alone'] },
});
provider.use(async (ctx, next) => {
  if (ctx.path === '/control') {
    let body = '';
    for await (const piece of ctx.req) body += piece;
    Object.assign(groups, JSON.parse(body));
    ctx.body = 'ok';
  } else if (ctx.path === '/evil') {
    ctx.type = 'html';
    ctx.body = `<form method="post" action="${ctx.query.to}"><input name="key_alias" value="forged"><button>go</button></form>`;
  } else {
    await next();
  }
});
provider.listen(Number(port), '127.0.0.1');
