// test/kernels/boot.sh, with a program in QEMU's place that plays what the emulator and the guest do: a fault of the
// emulator is tried again, and said; what the command says stands, and so does a crash that a probe of ours had a part in.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const BOOT = fileURLToPath(new URL('../../../../test/kernels/boot.sh', import.meta.url));
const INT3 = 'Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\\nRIP: 0010:tcp_rcv_established+0x5/0x6a0\\n';

interface Outcome {
  readonly status: number | null;
  readonly boots: number;
  readonly output: string;
  readonly errors: string;
}

/** `plays`: shell, a line a boot, with $out the folder that host and guest share; the last one is repeated. */
function boot(...plays: readonly string[]): Outcome {
  return bootWithin({}, ...plays);
}

/** Seconds: how long the guest may take to come up, and how long all may take. */
function bootWithin({ up = 20, all = 20 }, ...plays: readonly string[]): Outcome {
  const folder = mkdtempSync(path.join(tmpdir(), 'underspan-boot-'));
  try {
    const tree = path.join(folder, 'k/1.2.3');
    for (const part of ['boot', 'lib/modules/1.2.3']) mkdirSync(path.join(tree, part), { recursive: true });
    writeFileSync(path.join(tree, 'boot/vmlinuz-1.2.3'), '');
    const script = `#!/bin/bash
for word; do case $word in file:*/console) out=\${word#file:}; out=\${out%/console};; esac; done
: >"$out/console"; echo >>${folder}/boots; turn=$(wc -l <${folder}/boots)
case $turn in
${plays.map((play, index) => `${index === plays.length - 1 ? '*' : index + 1}) ${play};;`).join('\n')}
esac
`;
    writeFileSync(path.join(folder, 'qemu-system-x86_64'), script);
    chmodSync(path.join(folder, 'qemu-system-x86_64'), 0o755);
    const { status, stdout, stderr } = spawnSync(BOOT, ['1.2.3', String(all), 'true'], {
      env: {
        ...process.env,
        PATH: `${folder}:${process.env.PATH}`,
        UNDERSPAN_KERNELS: folder,
        TMPDIR: folder,
        BOOT: String(up),
      },
      encoding: 'utf8',
    });
    const boots = readFileSync(path.join(folder, 'boots'), 'utf8').length;
    return { status, boots, output: stdout, errors: stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const RUNS = 'echo told >"$out/stdout"; echo 0 >"$out/status"';
const CRASHES = `: >"$out/stdout"; printf '${INT3}' >"$out/console"`;

test('what the command prints and how it ends is what boot.sh does', () => {
  const { status, boots, output, errors } = boot(
    'echo told >"$out/stdout"; echo why >"$out/stderr"; echo 7 >"$out/status"',
  );
  assert.deepEqual({ status, boots, output, errors }, { status: 7, boots: 1, output: 'told\n', errors: 'why\n' });
});

test('an int3 that the emulator lost is tried again, and said', () => {
  const { status, boots, output, errors } = boot(CRASHES, RUNS);
  assert.deepEqual({ status, boots, output }, { status: 0, boots: 2, output: 'told\n' });
  assert.match(errors, /^retry 1 of 2: 1\.2\.3: the emulator lost an int3/);
  assert.match(errors, /tcp_rcv_established/);
});

test('a guest that does not come up is tried again, twice at most', () => {
  const { status, boots, errors } = boot('true');
  assert.deepEqual({ status, boots }, { status: 125, boots: 3 });
  assert.equal(errors.match(/^retry/gm)?.length, 2);
});

test('one that hangs while it comes up is given up, and tried again', () => {
  const { status, boots, errors } = bootWithin({ up: 5 }, 'exec sleep 60', RUNS);
  assert.deepEqual({ status, boots }, { status: 0, boots: 2 });
  assert.match(errors, /^retry 1 of 2: 1\.2\.3: the guest did not come up/);
});

test('all attempts together have the time that was given', () => {
  const { status, boots, errors } = bootWithin({ all: 3 }, `${CRASHES}; sleep 4`, RUNS);
  assert.deepEqual({ status, boots }, { status: 125, boots: 1 });
  assert.doesNotMatch(errors, /^retry/m);
});

for (const frame of ['bpf_prog_1234_kretprobe_inet_sendmsg+0x1', 'bpf_trampoline_42+0x5', 'kprobe_ftrace_handler+0x5'])
  test(`a crash with ${frame} on its stack is no fault of the emulator`, () => {
    const { status, boots, errors } = boot(`${CRASHES}; echo ' ${frame}' >>"$out/console"`);
    assert.deepEqual({ status, boots }, { status: 125, boots: 1 });
    assert.doesNotMatch(errors, /^retry/m);
    assert.match(errors, /RIP: /);
  });

test('another crash is none either', () => {
  const { status, boots } = boot(': >"$out/stdout"; echo "BUG: kernel NULL pointer dereference" >"$out/console"');
  assert.deepEqual({ status, boots }, { status: 125, boots: 1 });
});
