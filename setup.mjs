// Makes a checkout ready on a machine that has nothing but Node and npm: `node setup.mjs build|test|bench|backends|traces|arm64`,
// called by `npm start`, `npm test`, `npm run bench`, `npm run test:kernels` and `npm run test:backends`. Installs missing
// Debian packages (as root), npm packages, and builds what is older than its sources; with nothing to do it takes a few
// milliseconds. No dependencies, and no service is started.
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.dirname(fileURLToPath(import.meta.url));
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_ENVIRONMENT = 3;

/**
 * What the machine must have: `has` is a command or (with a slash) a file; `packages` are alternatives, the first one
 * that the distribution knows is installed. `service`: a daemon that the package would start and enable.
 */
const BUILD = [
  { has: 'clang', packages: ['clang'] },
  { has: 'make', packages: ['make'] },
  { has: '/usr/include/bpf/bpf_helpers.h', packages: ['libbpf-dev'] },
  { has: '/usr/include/libelf.h', packages: ['libelf-dev'] },
  { has: '/usr/include/zlib.h', packages: ['zlib1g-dev'] },
  { has: '/usr/include/stdio.h', packages: ['libc6-dev'] },
];
const LOAD = [
  { has: 'nginx', packages: ['nginx-light', 'nginx-core', 'nginx'], service: 'nginx' },
  { has: 'curl', packages: ['curl'] },
  { has: 'wrk', packages: ['wrk'] },
];
const BENCH = [...LOAD, { has: 'h2load', packages: ['nghttp2-client'] }];
const TEST = [
  ...LOAD,
  { has: '/usr/lib/nginx/modules/ngx_http_lua_module.so', packages: ['libnginx-mod-http-lua'] },
  { has: 'apache2', packages: ['apache2-bin'] },
  { has: 'haproxy', packages: ['haproxy'], service: 'haproxy' },
  { has: 'lighttpd', packages: ['lighttpd'], service: 'lighttpd' },
  { has: 'varnishd', packages: ['varnish'], service: 'varnish' },
  { has: 'python3', packages: ['python3'] },
  { has: 'gunicorn', packages: ['gunicorn', 'gunicorn3'] },
  { has: 'ruby', packages: ['ruby'] },
  { has: 'puma', packages: ['puma'] },
  { has: '/usr/share/doc/php-fpm', packages: ['php-fpm'], service: 'php8.2-fpm' },
  { has: '/usr/share/doc/php-curl', packages: ['php-curl'] },
  { has: 'go', packages: ['golang-go'] },
  { has: 'cargo', packages: ['cargo-web', 'cargo'] },
  { has: 'strip', packages: ['binutils'] },
  { has: 'cc', packages: ['gcc'] },
  { has: 'openssl', packages: ['openssl'] },
  { has: '/usr/include/openssl/ssl.h', packages: ['libssl-dev'] },
  { has: 'wget', packages: ['wget'] },
  { has: '/usr/share/doc/python3-pycurl', packages: ['python3-pycurl'] },
  { has: '/usr/share/doc/python3-uvloop', packages: ['python3-uvloop'] },
  { has: '/usr/share/doc/python3-waitress', packages: ['python3-waitress'] },
  { has: '/usr/share/doc/python3-gevent', packages: ['python3-gevent'] },
  { has: '/usr/share/doc/python3-fastapi', packages: ['python3-fastapi'] },
  { has: '/usr/share/doc/python3-httpx', packages: ['python3-httpx'] },
  { has: '/usr/share/doc/python3-uvicorn', packages: ['python3-uvicorn'] },
  { has: 'setpriv', packages: ['util-linux'] },
  { has: 'redis-server', packages: ['redis-server'], service: 'redis-server' },
  { has: 'nft', packages: ['nftables'] },
  { has: 'ip', packages: ['iproute2'] },
  { has: 'systemd-analyze', packages: ['systemd'] },
  { has: '/bin/kill', packages: ['procps'] },
  { has: 'qemu-system-x86_64', packages: ['qemu-system-x86'] },
  { has: '/bin/busybox', packages: ['busybox-static'] },
  { has: 'cpio', packages: ['cpio'] },
  { has: 'depmod', packages: ['kmod'] },
  { has: 'xz', packages: ['xz-utils'] },
  { has: 'zstd', packages: ['zstd'] },
  { has: 'javac', packages: ['default-jdk-headless'] },
  { has: '/usr/include/liburing.h', packages: ['liburing-dev'] },
  { has: '/usr/share/keyrings/debian-archive-keyring.gpg', packages: ['debian-archive-keyring'] },
];
const BACKENDS = [
  ...TEST,
  { has: 'prometheus', packages: ['prometheus'], service: 'prometheus' },
  { has: '/usr/share/doc/python3-venv', packages: ['python3-venv'] },
];
const TRACES = [
  ...TEST,
  { has: 'c++', packages: ['g++'] },
  { has: '/usr/include/boost/asio.hpp', packages: ['libboost-dev'] },
  { has: '/usr/include/microhttpd.h', packages: ['libmicrohttpd-dev'] },
  { has: '/usr/include/x86_64-linux-gnu/curl/curl.h', packages: ['libcurl4-openssl-dev'] },
  { has: 'escript', packages: ['erlang-base'] },
  { has: '/usr/share/doc/erlang-inets', packages: ['erlang-inets'] },
  { has: 'starman', packages: ['starman'] },
  { has: 'twiggy', packages: ['twiggy'] },
  { has: '/usr/share/doc/libanyevent-http-perl', packages: ['libanyevent-http-perl'] },
  { has: '/usr/share/doc/libmojolicious-perl', packages: ['libmojolicious-perl'] },
  { has: '/usr/share/doc/libev-perl', packages: ['libev-perl'] },
  { has: '/usr/share/doc/ruby-em-http-request', packages: ['ruby-em-http-request'] },
  { has: '/usr/share/doc/ruby-async-http', packages: ['ruby-async-http'] },
  { has: '/usr/share/doc/ruby-webrick', packages: ['ruby-webrick'] },
  { has: 'unicorn', packages: ['unicorn'] },
  { has: 'thin', packages: ['thin'] },
  { has: '/usr/share/doc/php-cli', packages: ['php-cli'] },
  { has: 'mvn', packages: ['maven'] },
];
const ARM64 = [
  ...TEST,
  { has: 'qemu-system-aarch64', packages: ['qemu-system-arm'] },
  { has: 'aarch64-linux-gnu-gcc', packages: ['gcc-aarch64-linux-gnu'] },
  { has: '/usr/aarch64-linux-gnu/include/stdio.h', packages: ['libc6-dev-arm64-cross'] },
];
const NEEDS = {
  arm64: [...BUILD, ...ARM64],
  traces: [...BUILD, ...TRACES],
  build: BUILD,
  test: [...BUILD, ...TEST],
  bench: [...BUILD, ...BENCH],
  backends: [...BUILD, ...BACKENDS],
};

/** What a build makes, and what it is made from. */
const OUTPUTS = ['dist/src/main.js', 'build/underspan.bpf.o', 'build/host.node'];
const SOURCES = ['src', 'test', 'bpf', 'package.json', 'tsconfig.json'];
const SOURCE_FILE = /\.(ts|c|h)$|(^|\/)(Makefile|package\.json|tsconfig\.json)$/;
/** Written when a build has succeeded: its time is the build's start, its text the list of sources. */
const STAMP = 'dist/.built';

const POLICY = '/usr/sbin/policy-rc.d';
const POLICY_SAVED = `${POLICY}.before-underspan`;
const POLICY_MARK = '# underspan setup: start nothing while test servers are installed';

class SetupError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

async function main() {
  const mode = process.argv[2] ?? 'build';
  if (!Object.hasOwn(NEEDS, mode))
    throw new SetupError(`usage: node setup.mjs ${Object.keys(NEEDS).join('|')}`, EXIT_USAGE);
  process.chdir(ROOT);
  checkNode();
  await installPackages(mode);
  await installModules();
  await build();
}

function checkNode() {
  const wanted = /(\d+)\.(\d+)/.exec(JSON.parse(readFileSync('package.json', 'utf8')).engines.node);
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [wantedMajor, wantedMinor] = [Number(wanted[1]), Number(wanted[2])];
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new SetupError(
    `Node ${wantedMajor}.${wantedMinor} or newer is needed, this is ${process.versions.node}`,
    EXIT_ENVIRONMENT,
  );
}

// -- packages of the distribution --

async function installPackages(mode) {
  const missing = NEEDS[mode].filter(need => !isThere(need.has));
  if (missing.length === 0) return;
  const names = missing.map(need => need.packages[0]).join(' ');
  const hasApt = findCommand('apt-get') !== '';
  if (process.platform !== 'linux')
    throw new SetupError(`Linux is needed, this is ${process.platform}`, EXIT_ENVIRONMENT);
  if (!hasApt) {
    const wanted = missing.map(need => need.has).join(', ');
    throw new SetupError(
      `missing: ${wanted}. Install what provides them (Debian's names: ${names}).`,
      EXIT_ENVIRONMENT,
    );
  }
  if (process.geteuid() !== 0) {
    throw new SetupError(
      `missing packages, and only root can install them:\n  sudo apt-get install ${names}`,
      EXIT_ENVIRONMENT,
    );
  }
  await withoutServices(missing, () => aptInstall(missing));
  const still = missing.filter(need => !isThere(need.has)).map(need => need.has);
  if (still.length > 0) throw new SetupError(`installed, and still missing: ${still.join(', ')}`, EXIT_ENVIRONMENT);
}

function isThere(what) {
  return what.includes('/') ? existsSync(what) : findCommand(what) !== '';
}

function findCommand(name) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  const folder = folders.find(candidate => candidate !== '' && existsSync(path.join(candidate, name)));
  return folder === undefined ? '' : path.join(folder, name);
}

async function aptInstall(missing) {
  const lists = existsSync('/var/lib/apt/lists') ? readdirSync('/var/lib/apt/lists') : [];
  let isFresh = false;
  const update = async () => {
    say('reading the package lists (apt-get update)');
    await run('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', 'update']);
    isFresh = true;
  };
  if (!lists.some(name => name.includes('_Packages'))) await update();
  // Lists that are too old name versions that are gone: then once more with new ones.
  for (;;) {
    const names = missing.map(need => need.packages.find(isKnown) ?? need.packages[0]);
    say(`installing ${names.join(' ')} (apt-get)`);
    try {
      const options = ['-q', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120'];
      await run('apt-get', [...options, 'install', ...names], line => /^Setting up /.test(line));
      return;
    } catch (error) {
      if (isFresh) throw error;
      await update();
    }
  }
}

function isKnown(name) {
  const shown = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  return /^ {2}Candidate: (?!\(none\))/m.test(shown.stdout ?? '');
}

/** Runs an installation during which no package starts its service, and leaves none enabled that was not there before. */
async function withoutServices(missing, install) {
  forbidServices();
  const restore = () => restorePolicy();
  const stop = signal => {
    restore();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    await install();
    for (const { service } of missing) if (service !== undefined) disableService(service);
  } finally {
    restore();
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/** invoke-rc.d and deb-systemd-invoke ask policy-rc.d before they start anything; 101 forbids (Debian policy 9.3.3). */
function forbidServices() {
  restorePolicy();
  if (isPresent(POLICY)) renameSync(POLICY, POLICY_SAVED);
  writeFileSync(POLICY, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`, { mode: 0o755 });
}

/** Also cleans up after a setup that was killed. */
function restorePolicy() {
  if (existsSync(POLICY) && readFileSync(POLICY, 'utf8').includes(POLICY_MARK)) rmSync(POLICY);
  if (isPresent(POLICY_SAVED) && !isPresent(POLICY)) renameSync(POLICY_SAVED, POLICY);
}

function isPresent(file) {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

/** A server that only tests need must not come up at the next boot either. */
function disableService(service) {
  const [command, args] =
    findCommand('systemctl') !== ''
      ? ['systemctl', ['--quiet', 'disable', service]]
      : ['update-rc.d', [service, 'disable']];
  if (findCommand(command) === '') return;
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status !== 0) say(`note: could not disable the service ${service}: ${(result.stderr ?? '').trim()}`);
}

// -- packages of npm --

async function installModules() {
  if (areModulesCurrent()) return;
  say('installing the npm packages (npm ci)');
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Whether node_modules holds what package-lock.json says; npm keeps a copy of what it installed there. */
function areModulesCurrent() {
  if (!existsSync('node_modules/.package-lock.json')) return false;
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const installed = JSON.parse(readFileSync('node_modules/.package-lock.json', 'utf8')).packages;
  return Object.entries(wanted).every(([name, entry]) => {
    if (name === '' || entry.optional === true) return true;
    return installed[name]?.version === entry.version && installed[name]?.integrity === entry.integrity;
  });
}

// -- build --

async function build() {
  const sources = SOURCES.flatMap(listSources).sort();
  if (isBuilt(sources)) return;
  const startedAt = new Date();
  say('building (npm run build)');
  await run('npm', ['run', '--silent', 'build']);
  removeOrphans('dist');
  mkdirSync('dist', { recursive: true });
  writeFileSync(STAMP, sources.join('\n'));
  utimesSync(STAMP, startedAt, startedAt);
}

function isBuilt(sources) {
  if (![...OUTPUTS, STAMP].every(file => existsSync(file))) return false;
  const builtAtMs = statSync(STAMP).mtimeMs;
  if (readFileSync(STAMP, 'utf8') !== sources.join('\n')) return false;
  return sources.every(file => statSync(file).mtimeMs < builtAtMs);
}

function listSources(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (!stat.isDirectory()) return SOURCE_FILE.test(file) ? [file] : [];
  return readdirSync(file).flatMap(name => listSources(`${file}/${name}`));
}

/** A test whose source is gone must not run on. */
function removeOrphans(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = `${folder}/${entry.name}`;
    if (entry.isDirectory()) removeOrphans(file);
    else if (/\.js$/.test(file) && !existsSync(file.replace(/^dist\//, '').replace(/\.js$/, '.ts'))) {
      rmSync(file);
      rmSync(`${file}.map`, { force: true });
    }
  }
}

// -- output --

/** Runs a command; shows the lines that `isProgress` picks, and all of its output if it fails. */
function run(command, args, isProgress = () => false) {
  // needrestart (Ubuntu) would restart other services after an installation.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C.UTF-8' };
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    const take = chunk => {
      const text = chunk.toString();
      output += text;
      for (const line of text.split('\n')) if (isProgress(line)) say(`  ${line}`);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', error => reject(new SetupError(`cannot run ${command}: ${error.message}`, EXIT_ENVIRONMENT)));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve();
      const how = code === null ? `was ended by ${signal}` : `failed with exit code ${code}`;
      reject(new SetupError(`${output.trimEnd()}\n${[command, ...args].join(' ')} ${how}`, EXIT_FAILED));
    });
  });
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

main().catch(error => {
  say(error instanceof SetupError ? error.message : error.stack);
  process.exitCode = error.exitCode ?? EXIT_FAILED;
});
