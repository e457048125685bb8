// The table of language runtimes: by which executable they are known, what OpenTelemetry calls them, and how their command
// line leads to the program that they run. service-name.ts and language.ts read it; a new runtime is one more entry.
// Option tables follow each runtime's own manual page; an option that is not listed is taken to stand alone.

export interface Runtime {
  /** What this table calls it. */
  readonly name: string;
  /** Base names of its executables. */
  readonly exe: RegExp;
  /** `telemetry.sdk.language`; '' where the conventions have no value. */
  readonly language: string;
  /** `process.runtime.name`, '' if it cannot be told from outside. */
  readonly runtimeName: string;
  /** Single-letter options may be joined (`-um`) and carry their value attached (`-Wignore`). */
  readonly isClustered: boolean;
  /** Options whose value is the next argument. */
  readonly valueOptions: ReadonlySet<string>;
  /** Options whose value is program text: there is no script. */
  readonly codeOptions: ReadonlySet<string>;
  /** Options whose value is the program (`-jar FILE`, `-m MODULE`). */
  readonly programOptions: ReadonlySet<string>;
  /** An option that states a name outright. */
  readonly statedName: RegExp | null;
  /** Words between the runtime and its script (`deno run FILE`, `dotnet exec FILE`). */
  readonly subcommands: ReadonlySet<string>;
  /** Base names (without extension) that say nothing about the program. */
  readonly genericScripts: ReadonlySet<string>;
  /** Extensions to take off a script's name. */
  readonly extension: RegExp;
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' ').filter(word => word !== ''));
}

const PLAIN: Omit<Runtime, 'name' | 'exe'> = {
  language: '',
  runtimeName: '',
  isClustered: false,
  valueOptions: words(''),
  codeOptions: words(''),
  programOptions: words(''),
  statedName: null,
  subcommands: words(''),
  genericScripts: words(''),
  extension: /\.[A-Za-z]{1,5}$/,
};

const NODE_GENERIC = words('index main app server start www bootstrap cli run entrypoint worker');
const NODE_EXTENSION = /\.(?:c|m)?[jt]sx?$/;

export const RUNTIMES: readonly Runtime[] = [
  {
    ...PLAIN,
    name: 'python',
    exe: /^python(?:\d(?:\.\d+)?)?(?:-dbg|t)?$/,
    language: 'python',
    runtimeName: 'cpython',
    isClustered: true,
    valueOptions: words('-W -X -Q --check-hash-based-pycs'),
    codeOptions: words('-c'),
    programOptions: words('-m'),
    genericScripts: words('__main__ manage wsgi asgi'),
    extension: /\.py[cwo]?$|\.pyz$/,
  },
  {
    ...PLAIN,
    name: 'pypy',
    exe: /^pypy(?:\d(?:\.\d+)?)?$/,
    language: 'python',
    runtimeName: 'pypy',
    isClustered: true,
    valueOptions: words('-W -X -Q'),
    codeOptions: words('-c'),
    programOptions: words('-m'),
    genericScripts: words('__main__ manage wsgi asgi'),
    extension: /\.py[cwo]?$|\.pyz$/,
  },
  {
    ...PLAIN,
    name: 'node',
    exe: /^node(?:js)?(?:-?\d+)?$/,
    language: 'nodejs',
    runtimeName: 'nodejs',
    valueOptions: words(
      '-r --require --import --loader --experimental-loader -C --conditions --env-file --env-file-if-exists' +
        ' --inspect-port --icu-data-dir --input-type --redirect-warnings --report-dir --diagnostic-dir --cpu-prof-dir' +
        ' --openssl-config --stack-trace-limit --watch-path --trace-event-categories --unhandled-rejections',
    ),
    codeOptions: words('-e --eval -p --print -pe'),
    statedName: /^--title=(.+)$/,
    genericScripts: NODE_GENERIC,
    extension: NODE_EXTENSION,
  },
  {
    ...PLAIN,
    name: 'bun',
    // npm's package has it by that name on Linux, too.
    exe: /^bun(?:\.exe)?$/,
    language: 'nodejs',
    runtimeName: 'bun',
    valueOptions: words('-r --preload --cwd --env-file --config -c'),
    codeOptions: words('-e --eval -p --print'),
    subcommands: words('run'),
    genericScripts: NODE_GENERIC,
    extension: NODE_EXTENSION,
  },
  {
    ...PLAIN,
    name: 'deno',
    exe: /^deno$/,
    language: 'nodejs',
    runtimeName: 'deno',
    valueOptions: words('-c --config --import-map --lock --location --cert -L --log-level'),
    codeOptions: words('eval'),
    subcommands: words('run serve'),
    genericScripts: NODE_GENERIC,
    extension: NODE_EXTENSION,
  },
  {
    ...PLAIN,
    name: 'java',
    exe: /^javaw?$/,
    language: 'java',
    valueOptions: words(
      '-cp -classpath --class-path -p --module-path --upgrade-module-path --add-modules --add-opens --add-exports' +
        ' --add-reads --patch-module --limit-modules --enable-native-access --source',
    ),
    programOptions: words('-jar -m --module'),
    statedName: /^-D(?:otel\.service\.name|spring\.application\.name)=(.+)$/,
    genericScripts: words('app application main server service'),
    extension: /\.(?:jar|war|java)$/,
  },
  {
    ...PLAIN,
    name: 'ruby',
    exe: /^(?:ruby|jruby|truffleruby)(?:\d(?:\.\d+)?)?$/,
    language: 'ruby',
    runtimeName: 'ruby',
    isClustered: true,
    valueOptions: words('-I -r -C -E'),
    codeOptions: words('-e'),
    programOptions: words('-S'),
    genericScripts: words('main server config start run'),
    extension: /\.(?:rb|ru)$/,
  },
  {
    ...PLAIN,
    name: 'php',
    exe: /^php(?:-cgi)?(?:\d(?:\.\d+)?)?$/,
    language: 'php',
    runtimeName: 'php',
    valueOptions: words('-S -t -c -d -z --server --docroot --php-ini --define --zend-extension'),
    codeOptions: words('-r --run -R -B -E'),
    programOptions: words('-f --file -F'),
    genericScripts: words('index main server router start artisan console'),
    extension: /\.(?:php\d?|phar)$/,
  },
  {
    ...PLAIN,
    name: 'dotnet',
    exe: /^dotnet$/,
    language: 'dotnet',
    runtimeName: 'dotnet',
    valueOptions: words(
      '--additionalprobingpath --additional-deps --depsfile --runtimeconfig --fx-version --roll-forward',
    ),
    subcommands: words('exec'),
    extension: /\.(?:dll|exe)$/,
  },
  {
    ...PLAIN,
    name: 'mono',
    exe: /^mono(?:-sgen|-boehm)?(?:-?\d.*)?$/,
    language: 'dotnet',
    runtimeName: 'mono',
    valueOptions: words('--config'),
    extension: /\.(?:dll|exe)$/,
  },
  {
    ...PLAIN,
    name: 'perl',
    exe: /^perl(?:\d(?:\.\d+)*)?$/,
    isClustered: true,
    valueOptions: words('-I -M -m -F'),
    codeOptions: words('-e -E'),
    genericScripts: words('main server app'),
    extension: /\.(?:pl|psgi|cgi)$/,
  },
  {
    ...PLAIN,
    name: 'shell',
    exe: /^(?:ba|da|a|z|k|mk)?sh$/,
    isClustered: true,
    valueOptions: words('-o -O --rcfile --init-file'),
    codeOptions: words('-c'),
    genericScripts: words('entrypoint start run main'),
    extension: /\.(?:ba|z|k)?sh$/,
  },
  { ...PLAIN, name: 'lua', exe: /^(?:lua|luajit)(?:-?\d.*)?$/, codeOptions: words('-e'), valueOptions: words('-l') },
  { ...PLAIN, name: 'tclsh', exe: /^(?:tclsh|wish)(?:\d.*)?$/ },
  { ...PLAIN, name: 'R', exe: /^(?:Rscript|R)$/, codeOptions: words('-e') },
  { ...PLAIN, name: 'guile', exe: /^guile(?:-\d.*)?$/, codeOptions: words('-c'), valueOptions: words('-L -l -e') },
  { ...PLAIN, name: 'julia', exe: /^julia$/, codeOptions: words('-e'), valueOptions: words('-t -p -J -L') },
  // Its command line is a language of its own: service-name.ts reads it.
  { ...PLAIN, name: 'beam', exe: /^(?:beam|beam\.smp|erl|erlexec)$/, language: 'erlang', runtimeName: 'BEAM' },
];

const found = new Map<string, Runtime | null>();
const FOUND_MAX = 1024;

/** The runtime that an executable's base name stands for, or null. */
export function runtimeOf(exeName: string): Runtime | null {
  const known = found.get(exeName);
  if (known !== undefined) return known;
  const runtime = RUNTIMES.find(candidate => candidate.exe.test(exeName)) ?? null;
  if (found.size >= FOUND_MAX) found.clear();
  found.set(exeName, runtime);
  return runtime;
}
