// What the kernel matrix needs before it boots anything: the kernels that are wanted, and the programs that are compiled.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { reasonOf } from '../../src/errors.js';
import { ROOT, seriesOf } from './judge.js';

const GO_ENVIRONMENT = { GOFLAGS: '', GO111MODULE: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' };

/** Fetches kernels of these series, by default all, and returns their names; throws if one cannot be had. */
export function prepareKernels(series: readonly string[]): readonly string[] {
  run('clang', ['-O2', 'test/services/uring-server.c', '-o', 'build/uring-server', '-luring']);
  const names = fetch(series).trim().split('\n');
  const kernels = names.filter(name => series.length === 0 || series.includes(seriesOf(name)));
  if (kernels.length === 0) throw new Error(`none of the kernels ${names.join(', ')} is ${series.join(' or ')}`);
  return kernels;
}

/**
 * Debian 13's kernel for arm64 with a system of its own, and what is built for it: in build/arm64, which boot.sh puts in the
 * place of build/. The compiler's headers come first, for they fit its library; only what it lacks is taken from that system.
 */
export function prepareArm64(): string {
  run(process.execPath, ['setup.mjs', 'arm64']);
  const name = fetch(['arm64']).trim();
  const system = path.join(
    process.env.UNDERSPAN_KERNELS ?? path.join(homedir(), '.cache/underspan-kernels'),
    'k',
    name,
  );
  const libraries = path.join(ROOT, 'build/arm64/lib');
  mkdirSync(libraries, { recursive: true });
  for (const library of ['libbpf.so', 'liburing.so'])
    copyFileSync(path.join(system, 'usr/lib/aarch64-linux-gnu', library), path.join(libraries, library));
  const from = ['-idirafter', path.join(system, 'usr/include'), `-L${libraries}`];
  const compiler = ['clang', '--target=aarch64-linux-gnu', ...from, '-Wl,--allow-shlib-undefined'];
  const target = ['--no-print-directory', '-C', 'bpf', 'ARCH=arm64', 'BUILD=../build/arm64'];
  run('make', [...target, '../build/arm64/underspan.bpf.o']);
  run('make', [...target, `CLANG=${compiler.join(' ')}`, '../build/arm64/host.node']);
  const [command, ...flags] = compiler as [string, ...string[]];
  run(command, [...flags, '-O2', 'test/services/uring-server.c', '-o', 'build/arm64/uring-server', '-luring']);
  return name;
}

/** What the TLS suite needs besides. */
export function prepareGo(): void {
  for (const name of ['go-server', 'go-client'])
    run('go', ['build', '-ldflags=-s -w', '-o', `build/${name}`, `test/services/${name}.go`], GO_ENVIRONMENT);
}

function fetch(series: readonly string[]): string {
  try {
    return run(path.join(ROOT, 'test/kernels/fetch.sh'), series);
  } catch (error) {
    const advice =
      'kernels come from a Debian mirror by apt-get, without being installed: it has to be within reach, and its keys are in the package debian-archive-keyring';
    throw new Error(`no kernel ${series.join(', ')} to boot: ${advice}\n${reasonOf(error)}`, { cause: error });
  }
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const options = { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} failed: ${error?.message ?? stderr}`);
  return stdout;
}
