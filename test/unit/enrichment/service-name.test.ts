import assert from 'node:assert/strict';
import test from 'node:test';
import type { ProcessFacts } from '../../../src/enrichment/process-facts.js';
import { programNameOf, scriptOf, serviceNameOf } from '../../../src/enrichment/service-name.js';
import { facts } from './facts.js';

interface Case {
  readonly exe: string;
  readonly line: string;
  readonly name: string;
  readonly more?: Partial<ProcessFacts>;
}

const PYTHON = '/usr/bin/python3.11';
const NODE = '/usr/bin/node';
const JAVA = '/usr/lib/jvm/java-17/bin/java';
const RUBY = '/usr/bin/ruby3.1';
const PHP = '/usr/bin/php8.2';
const BASH = '/usr/bin/bash';

/** A title written over the command line is one argument, blanks and all. */
function title(text: string): Partial<ProcessFacts> {
  return { args: [text] };
}
const inShop = { cwd: '/srv/shop' };
const inUnit = { cgroup: '/system.slice/shop.service' };

const CASES: readonly Case[] = [
  // Python
  { exe: PYTHON, line: 'python3 app.py', name: 'app' },
  { exe: PYTHON, line: '/usr/bin/python3 -u -W ignore /srv/shop/app.py --port 80', name: 'app' },
  { exe: PYTHON, line: 'python3 -Wignore -OO -X dev orders.py', name: 'orders' },
  { exe: PYTHON, line: 'python -m http.server', name: 'http.server' },
  { exe: PYTHON, line: 'python -um http.server 8000', name: 'http.server' },
  { exe: PYTHON, line: 'python3 -m shop.api.__main__', name: 'shop.api' },
  { exe: PYTHON, line: 'python3 -m gunicorn app:app', name: 'app' },
  {
    exe: PYTHON,
    line: '/usr/bin/python3 /usr/bin/gunicorn -w 4 -b localhost:8000 --reload shop.wsgi:application',
    name: 'shop',
  },
  { exe: PYTHON, line: 'python3 /usr/bin/gunicorn -w4 --bind=0.0.0.0:80 --name orders app:app', name: 'orders' },
  { exe: PYTHON, line: 'python3 /usr/bin/gunicorn wsgi:app', name: 'shop', more: inShop },
  { exe: PYTHON, line: 'python3 /usr/bin/gunicorn --chdir /srv/billing wsgi:app', name: 'billing', more: inShop },
  { exe: PYTHON, line: 'python3 /usr/bin/gunicorn wsgi:app', name: 'wsgi', more: { cwd: '/app' } },
  {
    exe: PYTHON,
    line: 'python3 /usr/bin/gunicorn "create_app()"',
    name: 'gunicorn',
    more: { args: ['python3', '/usr/bin/gunicorn'] },
  },
  { exe: PYTHON, line: 'python3 /usr/local/bin/uvicorn main:app --host 0.0.0.0', name: 'shop', more: inShop },
  { exe: PYTHON, line: 'python3 /usr/local/bin/uvicorn --workers 2 --no-access-log app.main:app', name: 'app' },
  { exe: PYTHON, line: 'python3 /usr/bin/celery -A shop worker -l info', name: 'shop' },
  { exe: PYTHON, line: 'python3 /usr/bin/flask --app shop run', name: 'shop' },
  { exe: PYTHON, line: 'python3 /usr/bin/flask run', name: 'shop', more: inShop },
  { exe: PYTHON, line: 'python3 /usr/bin/streamlit run report.py', name: 'report' },
  { exe: PYTHON, line: 'python3 manage.py runserver', name: 'shop', more: inShop },
  { exe: PYTHON, line: 'python3 /opt/shop/__main__.py', name: 'shop' },
  { exe: PYTHON, line: 'python3 -c pass', name: 'python' },
  { exe: PYTHON, line: 'python3 -c pass', name: 'shop', more: inUnit },
  { exe: '/usr/bin/uwsgi', line: 'uwsgi --master --http :8000 --module shop.wsgi:application', name: 'shop' },
  { exe: '/usr/bin/uwsgi-core', line: 'uwsgi --ini /etc/uwsgi/apps-enabled/shop.ini', name: 'shop' },
  { exe: '/usr/bin/uwsgi', line: 'uwsgi /etc/uwsgi/apps-enabled/shop.ini', name: 'shop' },
  { exe: '/usr/bin/uwsgi', line: 'uwsgi --http :80 --wsgi-file orders.py', name: 'orders' },
  // Node
  { exe: NODE, line: 'node shop.js', name: 'shop' },
  {
    exe: NODE,
    line: 'node -r dotenv/config --enable-source-maps --max-old-space-size=512 orders.mjs --port 80',
    name: 'orders',
  },
  { exe: NODE, line: 'node server.js', name: 'shop', more: inShop },
  { exe: NODE, line: 'node dist/index.js', name: 'shop', more: inShop },
  { exe: NODE, line: 'node /home/ann/code/dist/src/main.js', name: 'main' },
  { exe: NODE, line: 'node /var/www/shop/releases/20240102/server.js', name: 'shop' },
  { exe: NODE, line: 'node server.js', name: 'server', more: { cwd: '/app' } },
  { exe: NODE, line: 'node server.js', name: 'shop', more: { cwd: '/app', ...inUnit } },
  { exe: NODE, line: 'node --title=orders server.js', name: 'orders', more: inShop },
  { exe: NODE, line: 'node -e 1', name: 'node' },
  { exe: NODE, line: 'node /srv/shop/node_modules/.bin/next start', name: 'shop', more: inShop },
  { exe: NODE, line: 'node /usr/bin/ts-node -T src/orders.ts', name: 'orders', more: inShop },
  { exe: NODE, line: '', name: 'shop', more: { ...title('npm start'), ...inShop } },
  { exe: NODE, line: '', name: 'shop', more: title('shop') },
  { exe: NODE, line: '', name: 'shop', more: { ...title('next-server (v14.2.3)'), ...inShop } },
  { exe: '/usr/bin/deno', line: 'deno run --allow-net orders.ts', name: 'orders' },
  { exe: '/usr/bin/perl', line: '', name: 'twiggy', more: title('/usr/bin/twiggy ') },
  { exe: '/usr/bin/perl', line: '', name: 'perl', more: title('/usr/bin/perl5.36 ') },
  { exe: '/usr/bin/bun', line: 'bun run orders.ts', name: 'orders' },
  { exe: '/app/node_modules/bun/bin/bun.exe', line: 'bun run orders.ts', name: 'orders' },
  { exe: '/usr/bin/mono-sgen', line: '/usr/bin/mono --config etc.config orders.exe', name: 'orders' },
  // Java
  { exe: JAVA, line: 'java -jar shop.jar', name: 'shop' },
  {
    exe: JAVA,
    line: 'java -Xmx1g -Dpassword=x -jar /opt/shop-service-1.2.3-SNAPSHOT.jar --spring.profiles.active=x',
    name: 'shop-service',
  },
  { exe: JAVA, line: 'java -jar /opt/shop/app.jar', name: 'shop' },
  { exe: JAVA, line: 'java -jar /app.jar', name: 'app' },
  { exe: JAVA, line: 'java -cp a.jar:b.jar com.acme.Main', name: 'Main' },
  {
    exe: JAVA,
    line: 'java @/opt/args --add-opens java.base/java.lang=ALL-UNNAMED -p mods -m acme.shop/com.acme.Shop',
    name: 'Shop',
  },
  { exe: JAVA, line: 'java -Dotel.service.name=orders -jar shop.jar', name: 'orders' },
  { exe: JAVA, line: 'java -classpath x org.apache.catalina.startup.Bootstrap start', name: 'tomcat' },
  { exe: JAVA, line: 'java kafka.Kafka server.properties', name: 'kafka' },
  { exe: JAVA, line: 'java org.springframework.boot.loader.launch.JarLauncher', name: 'shop', more: inShop },
  { exe: JAVA, line: 'java Hello.java', name: 'Hello' },
  // Ruby
  { exe: RUBY, line: 'ruby -Ilib -rjson orders.rb', name: 'orders' },
  { exe: RUBY, line: 'ruby bin/rails server', name: 'shop', more: inShop },
  { exe: RUBY, line: 'ruby /usr/bin/puma -C config/puma.rb', name: 'shop', more: inShop },
  { exe: RUBY, line: 'ruby /usr/bin/bundle exec puma', name: 'shop', more: inShop },
  { exe: RUBY, line: 'ruby /usr/bin/bundle exec ruby', name: 'ruby' },
  { exe: RUBY, line: '', name: 'shop', more: title('puma 6.4.0 (tcp://0.0.0.0:9292) [shop]') },
  { exe: RUBY, line: '', name: 'shop', more: title('puma: cluster worker 0: 1234 [shop]') },
  { exe: RUBY, line: '', name: 'shop', more: title('sidekiq 7.1.2 shop [0 of 5 busy]') },
  { exe: RUBY, line: '', name: 'shop', more: title('Passenger RubyApp: /var/www/shop/public (production)') },
  // PHP, Perl, .NET, Erlang, shells
  { exe: PHP, line: 'php orders.php', name: 'orders' },
  { exe: PHP, line: 'php -d memory_limit=1G -S localhost:8000 -t public', name: 'php' },
  { exe: PHP, line: 'php artisan serve', name: 'shop', more: inShop },
  { exe: '/usr/sbin/php-fpm8.2', line: '', name: 'php-fpm', more: title('php-fpm: pool www') },
  { exe: '/usr/sbin/php-fpm8.2', line: '', name: 'shop', more: title('php-fpm: pool shop') },
  {
    exe: '/usr/sbin/php-fpm8.2',
    line: '',
    name: 'php-fpm',
    more: title('php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)'),
  },
  { exe: '/usr/bin/perl', line: 'perl -w -MPOSIX x.pl', name: 'x' },
  { exe: '/usr/bin/perl', line: 'perl -we 1', name: 'perl' },
  { exe: '/usr/bin/dotnet', line: 'dotnet Shop.dll', name: 'Shop' },
  { exe: '/usr/bin/dotnet', line: 'dotnet run', name: 'shop', more: inShop },
  {
    exe: '/usr/lib/erlang/bin/beam.smp',
    line: 'beam.smp -- -root /usr/lib/erlang -progname erl -- -sname rabbit@host',
    name: 'rabbit',
  },
  { exe: '/opt/beam.smp', line: 'beam.smp -- -boot /opt/shop/releases/0.1.0/start', name: 'shop' },
  { exe: BASH, line: 'bash -eu /usr/local/bin/backup.sh', name: 'backup' },
  { exe: BASH, line: 'bash -euo pipefail backup.sh', name: 'backup' },
  { exe: BASH, line: '-bash', name: 'bash' },
  { exe: BASH, line: 'bash -c true', name: 'bash' },
  { exe: BASH, line: 'bash /dev/fd/3', name: 'bash' },
  { exe: '/bin/busybox', line: 'httpd -f', name: 'httpd' },
  // Native programs and their titles
  {
    exe: '/usr/sbin/nginx',
    line: '',
    name: 'nginx',
    more: title('nginx: master process /usr/sbin/nginx -g daemon on;'),
  },
  { exe: '/usr/sbin/nginx', line: '', name: 'nginx', more: title('nginx: worker process') },
  { exe: '', line: '', name: 'nginx', more: title('nginx: worker process') },
  { exe: '/usr/sbin/apache2', line: '/usr/sbin/apache2 -k start', name: 'apache2' },
  {
    exe: '/usr/lib/postgresql/15/bin/postgres',
    line: '',
    name: 'postgres',
    more: title('postgres: app shop 10.0.0.1(5) idle'),
  },
  { exe: '/usr/local/bin/shop', line: './shop --listen :80', name: 'shop' },
  { exe: '/memfd:x', line: '/run/shop -v', name: 'shop' },
  { exe: PYTHON, line: '', name: 'shop', more: title('gunicorn: master [shop.wsgi:application]') },
  { exe: PYTHON, line: '', name: 'shop', more: title('gunicorn: worker [shop]') },
  { exe: PYTHON, line: '', name: 'shop', more: title('[celeryd: shop@host:MainProcess]') },
  // Gone before it could be read: only what exec said
  { exe: '', line: 'curl -s http://localhost/', name: 'curl', more: { exeName: 'curl' } },
  { exe: '', line: 'python3 app.py', name: 'app', more: { exeName: 'python3' } },
  { exe: '', line: '', name: 'short', more: { exeName: 'short' } },
  { exe: '', line: '', name: '' },
];

for (const { exe, line, name, more } of CASES) {
  const given = facts(exe, line, more);
  test(`${given.args.join(' ') || exe || given.exeName || 'nothing'} is ${name || 'unknown'}`, () => {
    assert.equal(programNameOf(given), name);
  });
}

test('the master and the workers of one server have one name, before and after they write their titles', () => {
  const started = facts(PYTHON, 'python3 /usr/bin/gunicorn -w 2 shop.wsgi:application');
  const master = { ...started, ...title('gunicorn: master [shop.wsgi:application]') };
  const worker = { ...started, ...title('gunicorn: worker [shop.wsgi:application]') };
  assert.deepEqual(
    [started, master, worker].map(each => programNameOf(each)),
    ['shop', 'shop', 'shop'],
  );
});

test('a Node program with a generic script is named by its package.json', () => {
  const asked: string[] = [];
  const lookup = (directory: string): string => {
    asked.push(directory);
    return 'orders';
  };
  assert.equal(programNameOf(facts(NODE, 'node ../dist/index.js', { cwd: '/srv/shop/bin' }), lookup), 'orders');
  assert.deepEqual(asked, ['/srv/shop/dist']);
});

test('package.json is not looked for where the script has a name, nor for other runtimes', () => {
  const lookup = (): string => assert.fail('looked up');
  assert.equal(programNameOf(facts(NODE, 'node shop.js', inShop), lookup), 'shop');
  assert.equal(programNameOf(facts(PYTHON, 'python3 manage.py runserver', inShop), lookup), 'shop');
});

test('OTEL_SERVICE_NAME wins over service.name in OTEL_RESOURCE_ATTRIBUTES, that over rules, rules over the program', () => {
  const rules = [{ name: 'by-rule', matches: (given: ProcessFacts) => given.exePath === NODE }];
  const environment = { serviceName: 'told', resourceAttributes: 'a=b,service.name=also%20told', otlpVariables: [] };
  const given = facts(NODE, 'node shop.js', { environment });
  assert.equal(serviceNameOf(given, rules), 'told');
  assert.equal(serviceNameOf({ ...given, environment: { ...environment, serviceName: '' } }, rules), 'also told');
  assert.equal(serviceNameOf(facts(NODE, 'node shop.js'), rules), 'by-rule');
  assert.equal(serviceNameOf(facts(PYTHON, 'python3 shop.py'), rules), 'shop');
});

test('a Kubernetes container is named before its program, and a process without any name is unknown_service', () => {
  const pod = { podName: 'cart-7d9f-x2', namespace: 'prod', containerName: 'cart' };
  assert.equal(serviceNameOf(facts(NODE, 'node shop.js', { pod })), 'cart');
  assert.equal(serviceNameOf(facts('', '')), 'unknown_service');
});

test('a name that was worked out before is kept: replay has no arguments', () => {
  assert.equal(serviceNameOf(facts(NODE, 'node', { program: 'shop' })), 'shop');
});

test('names carry no control characters and end somewhere', () => {
  assert.equal(programNameOf(facts(PYTHON, 'python3 a\u001b[31m\u0007b.py')), 'a[31mb');
  assert.equal(programNameOf(facts(`/bin/${'x'.repeat(4000)}`, 'x')).length, 128);
});

test('scriptOf gives what the runtime runs, as written', () => {
  assert.equal(scriptOf(facts(PYTHON, 'python3 -u /srv/app.py')), '/srv/app.py');
  assert.equal(scriptOf(facts(JAVA, 'java -Xmx1g -jar shop-1.0.jar')), 'shop-1.0.jar');
  assert.equal(scriptOf(facts(PYTHON, 'python3 -m http.server')), 'http.server');
  assert.equal(scriptOf(facts('/usr/sbin/nginx', 'nginx -c x.conf')), '');
});

test('a hostile command line costs no time to speak of', () => {
  const long = 200_000;
  const titles = ['gunicorn: [', 'puma [', 'celery: a-', 'php-fpm: pool ', 'Passenger xApp: ', 'sidekiq 7 a '];
  const hostile = [
    ...titles.map(text => facts(RUBY, '', title(text + text.slice(-1).repeat(long)))),
    facts(JAVA, `java -jar /a/x${'-1.1'.repeat(long / 4)}!`),
    facts(PYTHON, `python3 /usr/bin/gunicorn ${'a.'.repeat(long / 2)}:`),
    facts(PYTHON, `python3 /usr/bin/gunicorn ${'- '.repeat(long / 2)}`),
    facts(NODE, `node ${'../'.repeat(long / 3)}index.js`, inShop),
  ];
  const beginMs = performance.now();
  for (const given of hostile) assert.equal(typeof programNameOf(given), 'string');
  // Quadratic time would be hours.
  assert.ok(performance.now() - beginMs < 30_000, `${performance.now() - beginMs} ms`);
});
