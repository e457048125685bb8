// What the kernel matrix needs before it boots anything: the kernels that are wanted, and the programs that are compiled.
import { spawnSync } from 'node:child_process';
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
