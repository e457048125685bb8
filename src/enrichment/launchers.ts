// The table of programs that run somebody else's application: servers (gunicorn, uvicorn, puma), package managers and
// framework commands. Which arguments name the application is all that is said here; service-name.ts applies it. Also the
// titles that processes write over their own command line (setproctitle), and class names that everyone knows otherwise.

export interface Launcher {
  /**
   * Where the application's name is:
   * `module`: an argument `package.module:attribute`; `script`: the first argument is a script of the same runtime;
   * `project`: the directory it runs in; `command`: the next argument is a launcher or a script itself.
   */
  readonly kind: 'module' | 'script' | 'project' | 'command';
  /** Options that stand alone; every other option takes the next argument, if its value is not attached. */
  readonly flags: ReadonlySet<string>;
  /** Options whose value names the service. */
  readonly nameOptions: ReadonlySet<string>;
  /** Options whose value is the module or the script. */
  readonly appOptions: ReadonlySet<string>;
  /** Options whose value is the directory of the application. */
  readonly directoryOptions: ReadonlySet<string>;
}

interface LauncherText {
  flags?: string;
  name?: string;
  app?: string;
  directory?: string;
}

function launcher(kind: Launcher['kind'], text: LauncherText = {}): Launcher {
  const words = (list = ''): ReadonlySet<string> => new Set(list.split(' ').filter(word => word !== ''));
  return {
    kind,
    flags: words(text.flags),
    nameOptions: words(text.name),
    appOptions: words(text.app),
    directoryOptions: words(text.directory),
  };
}

const PROJECT = launcher('project');
const SCRIPT = launcher('script', {
  flags: '-q -V --quiet --verbose --watch --inspect --transpile-only -T --esm --respawn',
});

const GUNICORN = launcher('module', {
  name: '-n --name',
  directory: '--chdir',
  flags:
    '--reload --preload -D --daemon --capture-output --spew --check-config --print-config -R --enable-stdio-inheritance' +
    ' --proxy-protocol --no-sendfile --reuse-port --log-syslog --initgroups --strip-header-spaces' +
    ' --disable-redirect-access-to-syslog',
});
const ASGI = launcher('module', {
  directory: '--app-dir',
  flags:
    '--reload --factory --access-log --no-access-log --use-colors --no-use-colors --proxy-headers --no-proxy-headers' +
    ' --server-header --no-server-header --date-header --no-date-header --debug',
});

export const LAUNCHERS: ReadonlyMap<string, Launcher> = new Map([
  // Python
  ['gunicorn', GUNICORN],
  ['uvicorn', ASGI],
  ['hypercorn', ASGI],
  ['daphne', ASGI],
  [
    'granian',
    launcher('module', { flags: '--reload --access-log --no-access-log --ws --no-ws', name: '--process-name' }),
  ],
  ['waitress-serve', launcher('module', { flags: '--call --expose-tracebacks' })],
  [
    'uwsgi',
    launcher('module', {
      name: '--procname-prefix --procname-prefix-spaced --procname',
      app: '-w --module --wsgi --wsgi-file --file --ini --yaml --json --xml --mount',
      directory: '--chdir',
      flags:
        '--master -M --enable-threads --die-on-term --need-app --vacuum --lazy-apps --single-interpreter --auto-procname',
    }),
  ],
  ['flask', launcher('module', { app: '-A --app', flags: '--debug --no-debug' })],
  ['celery', launcher('module', { app: '-A --app', directory: '--workdir', flags: '--quiet' })],
  ['fastapi', launcher('command')],
  ['streamlit', launcher('command')],
  ['django-admin', PROJECT],
  // Node
  ['npm', PROJECT],
  ['npm-cli', PROJECT],
  ['npx', PROJECT],
  ['npx-cli', PROJECT],
  ['yarn', PROJECT],
  ['pnpm', PROJECT],
  ['next', PROJECT],
  ['next-server', PROJECT],
  ['nuxt', PROJECT],
  ['nuxi', PROJECT],
  ['nest', PROJECT],
  ['vite', PROJECT],
  ['react-scripts', PROJECT],
  ['vue-cli-service', PROJECT],
  ['remix-serve', PROJECT],
  ['astro', PROJECT],
  ['strapi', PROJECT],
  ['ts-node', SCRIPT],
  ['ts-node-dev', SCRIPT],
  ['ts-node-esm', SCRIPT],
  ['tsx', SCRIPT],
  ['nodemon', SCRIPT],
  ['pm2-runtime', SCRIPT],
  // Ruby
  ['rails', PROJECT],
  ['puma', PROJECT],
  ['pumactl', PROJECT],
  ['rackup', PROJECT],
  ['unicorn', PROJECT],
  ['unicorn_rails', PROJECT],
  ['thin', PROJECT],
  ['falcon', PROJECT],
  ['sidekiq', PROJECT],
  ['rake', PROJECT],
  ['bundle', launcher('command')],
  // PHP, Perl, .NET
  ['plackup', launcher('script', { app: '-a --app' })],
  ['starman', launcher('script', { app: '-a --app' })],
]);

/** Words that a `command` launcher has between itself and what it runs. */
export const COMMAND_WORDS: ReadonlySet<string> = new Set(['exec', 'run', 'dev', 'watch', 'start']);

/** What a rewritten title tells: `name` as it stands, `module` a `package.module:attribute`, `path` a directory, `project`. */
export type TitleKind = 'name' | 'module' | 'path' | 'project';

/** Titles by the shape that each server gives them; the first group is what the kind says. */
export const TITLES: readonly (readonly [pattern: RegExp, kind: TitleKind])[] = [
  [/^gunicorn: .*\[([^\]]+)\]\s*$/, 'module'],
  [/^puma(?:\s|:).*\[([^\]]+)\]\s*$/, 'name'],
  [/^puma(?:\s|:)/, 'project'],
  [/^sidekiq \d\S* (\S+) \[/, 'name'],
  [/^(?:unicorn|unicorn_rails|thin) /, 'project'],
  [/^Passenger \w+App: (\S+)/, 'path'],
  [/^\[?celeryd?: (?:[^@\s]*?-)?([^@\s-]+)@/, 'name'],
  // "www" is the pool that packages ship: the name of an application only where somebody chose one.
  [/^php-fpm(?:\d(?:\.\d+)?)?: pool (?!www$|www\s)(\S+)/, 'name'],
  [/^(php-fpm)(?:\d(?:\.\d+)?)?: /, 'name'],
  [/^(?:npm|yarn|pnpm)(?: |$)/, 'project'],
  [/^next-server\b/, 'project'],
];

/** Main classes of well-known servers, whose simple name would say less. */
export const CLASSES: ReadonlyMap<string, string> = new Map([
  ['org.apache.catalina.startup.Bootstrap', 'tomcat'],
  ['kafka.Kafka', 'kafka'],
  ['org.apache.zookeeper.server.quorum.QuorumPeerMain', 'zookeeper'],
  ['org.apache.cassandra.service.CassandraDaemon', 'cassandra'],
  ['org.elasticsearch.bootstrap.Elasticsearch', 'elasticsearch'],
  ['org.elasticsearch.server', 'elasticsearch'],
  ['org.opensearch.bootstrap.OpenSearch', 'opensearch'],
  ['org.apache.activemq.artemis.boot.Artemis', 'artemis'],
  ['org.jboss.modules', 'wildfly'],
]);

/** Loaders whose class name says nothing about what they load. */
export const LOADER_CLASS = /^org\.springframework\.boot\.loader\./;

/** Parts of a dotted module that say nothing about the application. */
export const GENERIC_MODULES: ReadonlySet<string> = new Set([
  'wsgi',
  'asgi',
  'main',
  '__main__',
  'application',
  'run',
  'src',
]);

/** Folders that hold an application's files without naming it. */
export const GENERIC_FOLDERS: ReadonlySet<string> = new Set(
  (
    'dist build out output .output lib src bin sbin app apps code server cmd public web html htdocs www wwwroot scripts current' +
    ' releases release target classes libs server.d root tmp home opt srv usr var etc mnt data workspace local share run .next'
  ).split(' '),
);
