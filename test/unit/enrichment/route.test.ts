// RouteTable: configured patterns, placeholders, what traffic teaches, and the bounds of all that.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { OVERFLOW_ROUTE, RouteTable, targetPath } from '../../../src/enrichment/route.js';
import { placeholder, routeSegments } from '../../../src/enrichment/route-segment.js';
import type { Service } from '../../../src/enrichment/service.js';

function service(id: number, name = 'shop', namespace = ''): Service {
  return { id, name, namespace, instanceId: `i${id}`, attributes: [] };
}

const SHOP = service(1);

test('names stay, identifiers become placeholders', () => {
  const routes = new RouteTable();
  const cases: Record<string, string> = {
    '/': '/',
    '/users': '/users',
    '/users/': '/users',
    '//users//42': '/users/{id}',
    '/users/42/orders/7': '/users/{id}/orders/{id}',
    '/v1/users': '/v1/users',
    '/v2.1/users': '/v2.1/users',
    '/items/9f1c2d3e-4b5a-6789-abcd-ef0123456789': '/items/{id}',
    '/commits/3f2a9c1b7d': '/commits/{id}',
    '/watch/dQw4w9WgXcQ': '/watch/{id}',
    '/o/order-20391': '/o/{id}',
    '/reports/2024-05-01': '/reports/{date}',
    '/reports/2024-05-01T10:00:00Z': '/reports/{date}',
    '/mail/jo.doe@example.com': '/mail/{email}',
    '/@angular/core': '/@angular/core',
    '/img/12345.png': '/img/{id}.png',
    '/js/main.3f2a9c1b.js': '/js/{id}.js',
    '/index.html': '/index.html',
    '/.well-known/openid-configuration': '/.well-known/openid-configuration',
    '/oauth2Callback': '/oauth2Callback',
    '/mp3/top-100': '/mp3/top-100',
    '/search/caf%C3%A9': '/search/{id}',
    '/a{b}c': '/{id}',
    '/cart;jsessionid=0A1B': '/cart',
    '/users/42?full=1': '/users/{id}',
    'http://shop.example/users/42': '/users/{id}',
    'http://shop.example': '/',
    '*': '',
    'shop.example:443': '',
    '': '',
  };
  for (const [path, route] of Object.entries(cases)) assert.equal(routes.route(SHOP, path), route, path);
});

test('configured patterns come first, for the services that the glob names', () => {
  const patterns = [
    { service: 'sh*', patterns: ['/users/me', '/users/{name}', '/files/:dir/x', '/static/*', '/a/*/b'] },
    { service: 'other', patterns: ['/*'] },
  ];
  const routes = new RouteTable({ patterns });
  assert.equal(routes.route(SHOP, '/users/me'), '/users/me');
  assert.equal(routes.route(SHOP, '/users/alice'), '/users/{name}');
  assert.equal(routes.route(SHOP, '/users/alice/'), '/users/{name}');
  assert.equal(routes.route(SHOP, '/users/alice/orders'), '/users/alice/orders');
  assert.equal(routes.route(SHOP, '/files/etc/x'), '/files/:dir/x');
  assert.equal(routes.route(SHOP, '/static/'), '/static/*');
  assert.equal(routes.route(SHOP, '/static/css/site.css'), '/static/*');
  assert.equal(routes.route(SHOP, '/a/1/b'), '/a/*/b');
  assert.equal(routes.route(SHOP, '/a/1/2/b'), '/a/{id}/{id}/b');
  assert.equal(routes.route(service(2, 'other'), '/users/me'), '/*');
  assert.equal(routes.route(service(3, 'third'), '/users/me'), '/users/me');
});

test('a reload takes new patterns and keeps what was learnt', () => {
  const routes = new RouteTable();
  assert.equal(routes.route(SHOP, '/users/alice'), '/users/alice');
  routes.configure({ patterns: [{ service: '*', patterns: ['/users/{name}'] }], maxRoutes: 1 });
  assert.equal(routes.route(SHOP, '/users/alice'), '/users/{name}');
  routes.configure({ maxRoutes: 1 });
  assert.equal(routes.route(SHOP, '/users/alice'), '/users/alice');
  assert.equal(routes.route(SHOP, '/new'), OVERFLOW_ROUTE);
  routes.configure({ maxRoutes: 2 });
  assert.equal(routes.route(SHOP, '/new'), '/new');
});

test('a 404 teaches nothing, but has the route if there is one', () => {
  const routes = new RouteTable();
  assert.equal(routes.route(SHOP, '/wp-admin', 404), '');
  assert.equal(routes.route(SHOP, '/users/1', 404), '');
  assert.equal(routes.route(SHOP, '/users/1', 200), '/users/{id}');
  assert.equal(routes.route(SHOP, '/users/2', 404), '/users/{id}');
  for (let i = 0; i < 1000; i++) assert.equal(routes.route(SHOP, `/scan${i % 7}/${'abcdefghij'[i % 10]}`, 404), '');
});

test('a position that keeps taking new names is folded, and stays folded', () => {
  const routes = new RouteTable({ maxRoutes: 100 });
  const names = Array.from({ length: 500 }, (_, i) => `user-${String.fromCharCode(97 + (i % 26))}${letters(i)}`);
  for (const name of names) routes.route(SHOP, `/users/${name}`);
  assert.equal(routes.route(SHOP, `/users/${names[0]}`), '/users/{id}');
  assert.equal(routes.route(SHOP, '/users/somebody'), '/users/{id}');
  assert.equal(routes.route(SHOP, '/users/somebody/orders'), '/users/{id}/orders');
  assert.equal(routes.route(SHOP, '/about'), '/about');
  assert.equal(routes.route(SHOP, '/users/2024-01-01'), '/users/{date}');
});

test('names that come back are resources and are not folded', () => {
  const routes = new RouteTable({ maxRoutes: 200 });
  const resources = Array.from({ length: 120 }, (_, i) => `resource-${letters(i)}`);
  for (let round = 0; round < 5; round++) {
    for (const resource of resources.slice(0, 30 + round * 20)) routes.route(SHOP, `/api/${resource}`);
  }
  assert.equal(routes.route(SHOP, `/api/${resources[0]}`), `/api/${resources[0]}`);
  assert.equal(routes.route(SHOP, `/api/${resources[100]}`), `/api/${resources[100]}`);
});

test('beyond the bound everything is one wildcard, and what was learnt keeps its route', () => {
  const routes = new RouteTable({ maxRoutes: 10 });
  const first = Array.from({ length: 10 }, (_, i) => `/page-${letters(i)}`);
  for (const path of first) assert.equal(routes.route(SHOP, path), path);
  for (let i = 10; i < 500; i++) assert.equal(routes.route(SHOP, `/page-${letters(i)}`), OVERFLOW_ROUTE);
  for (const path of first) assert.equal(routes.route(SHOP, path), path);
  assert.equal(routes.route(service(2, 'other'), '/page-zz'), '/page-zz');
});

test('no traffic makes more routes than allowed, and a known path keeps its route once positions are folded', () => {
  const segment = fc.oneof(
    fc.constantFrom('users', 'orders', 'api', 'me', 'items'),
    fc.string({ minLength: 1, maxLength: 12 }),
    fc.integer({ min: 0, max: 99999 }).map(String),
  );
  const path = fc.array(segment, { maxLength: 6 }).map(parts => `/${parts.join('/')}`);
  fc.assert(
    fc.property(fc.array(path, { maxLength: 300 }), fc.integer({ min: 1, max: 30 }), (paths, maxRoutes) => {
      const routes = new RouteTable({ maxRoutes });
      for (const each of paths) routes.route(SHOP, each);
      const now = paths.map(each => routes.route(SHOP, each));
      assert.ok(new Set(now.filter(route => route !== OVERFLOW_ROUTE)).size <= maxRoutes);
      assert.deepEqual(
        paths.map(each => routes.route(SHOP, each)),
        now,
      );
      for (const route of now) assert.match(route, /^\/[A-Za-z0-9._~!$&'()+,=:@/{}*-]*$/);
    }),
    { numRuns: 200 },
  );
});

test('instances of one service share what was learnt; other services do not', () => {
  const routes = new RouteTable({ maxRoutes: 2 });
  routes.route(service(1), '/a');
  routes.route(service(2), '/b');
  assert.equal(routes.route(service(3), '/c'), OVERFLOW_ROUTE);
  assert.equal(routes.route(service(4, 'shop', 'eu'), '/c'), '/c');
  routes.forget(3);
  assert.equal(routes.route(service(3), '/a'), '/a');
});

test('many services and many paths are forgotten, not kept', () => {
  const routes = new RouteTable({ maxRoutes: 1 });
  for (let i = 0; i < 600; i++) assert.equal(routes.route(service(i, `service-${i}`), '/only'), '/only');
  // The first has been evicted and learns anew.
  assert.equal(routes.route(service(0, 'service-0'), '/other'), '/other');
  for (let i = 0; i < 40_000; i++) assert.equal(routes.route(service(700, 'busy'), `/${i}`), '/{id}');
});

test('hostile paths cost time in proportion to their length', () => {
  const hostile = [`/${'a@'.repeat(2000)}`, `/x@${'b.'.repeat(4000)}@`, '/'.repeat(8000), `/${'1-'.repeat(4000)}z`];
  const startedNs = process.hrtime.bigint();
  for (let i = 0; i < 20; i++) {
    for (const path of hostile) assert.ok(routeSegments(path).length <= 13);
  }
  assert.ok(process.hrtime.bigint() - startedNs < 1_000_000_000n);
});

test('deep paths end in a wildcard', () => {
  const deep = `/${Array.from({ length: 20 }, (_, i) => `d${letters(i)}`).join('/')}`;
  const route = new RouteTable().route(SHOP, deep);
  assert.ok(route.endsWith('/*'));
  assert.equal(route.split('/').length, 14);
});

test('placeholders are for identifiers only', () => {
  for (const name of ['users', 'v1', 'v2', 'oauth2', 's3', 'mp4', 'getUserById', 'top-100', 'index.html', 'ssl2tls']) {
    assert.equal(placeholder(name), '', name);
  }
  for (const id of ['0', '123', '10.0.0.1', 'deadbeef01', '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'user_12345', 'x'.repeat(41)]) {
    assert.equal(placeholder(id), '{id}', id);
  }
});

test('paths of request targets', () => {
  assert.equal(targetPath('/a?b=/c'), '/a');
  assert.equal(targetPath('*'), '*');
  assert.equal(targetPath('http://h?x'), '/');
  assert.equal(targetPath('http://h/a?x'), '/a');
  assert.equal(targetPath('h:443'), '');
});

/** Distinct words of letters only. */
function letters(index: number): string {
  let text = '';
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    text = String.fromCharCode(97 + ((rest - 1) % 26)) + text;
  }
  return text;
}
