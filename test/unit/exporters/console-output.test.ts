// Against real pipes and a real terminal: a process writes through openOutput while nobody reads.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const OUTPUT_MODULE = fileURLToPath(new URL('../../../src/exporters/console-output.js', import.meta.url));

/** Writes numbered lines until many have been refused, and notes how it went: it would not get there if writing could block. */
const WRITER = `
import { writeFileSync } from 'node:fs';
const { openOutput } = await import(process.env.OUTPUT_MODULE);
const output = openOutput(process.stdout, { maxPendingBytes: 65536 });
let taken = 0, refused = 0;
const timer = setInterval(async () => {
  for (let i = 0; i < 20; i++) output.write('line ' + taken + ' ' + 'x'.repeat(90) + '\\n') ? taken++ : refused++;
  if (refused < 1000) return;
  clearInterval(timer);
  writeFileSync(process.env.RESULT, JSON.stringify({ taken, refused, isTerminal: output.isTerminal }));
  await output.flush(20_000);
  output.close();
}, 5);
`;

interface Outcome {
  readonly taken: number;
  readonly refused: number;
  readonly isTerminal: boolean;
}

/** Runs the writer, reads nothing until it has finished, then everything. */
async function runUnread(
  start: (env: NodeJS.ProcessEnv) => ChildProcess,
): Promise<{ outcome: Outcome; lines: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'underspan-output-'));
  const result = join(folder, 'result.json');
  try {
    const child = start({ ...process.env, RESULT: result, OUTPUT_MODULE });
    const closed = once(child, 'close');
    for (let waits = 0; !existsSync(result); waits++) {
      assert.ok(waits < 600, 'the writer stands still while nobody reads');
      await sleep(50);
    }
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    await closed;
    return { outcome: JSON.parse(readFileSync(result, 'utf8')) as Outcome, lines: text.trimEnd().split(/\r?\n/) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function check({ outcome, lines }: { outcome: Outcome; lines: string[] }): void {
  assert.ok(outcome.refused > 0, 'an unread output has to refuse lines');
  assert.equal(lines.length, outcome.taken, 'what was taken is written, once');
  for (const [index, line] of lines.entries()) assert.equal(line, `line ${index} ${'x'.repeat(90)}`);
}

test('a pipe that nobody reads does not stop the writer, and what it took arrives', async () => {
  const run = await runUnread(env =>
    spawn(process.execPath, ['--input-type=module', '-e', WRITER], { env, stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  assert.equal(run.outcome.isTerminal, false);
  check(run);
});

test('neither does a terminal that is stopped', async () => {
  // util-linux's script gives its command a terminal and stops reading from it once its own output is full.
  const run = await runUnread(env =>
    spawn('script', ['-qec', `'${process.execPath}' --input-type=module -e "$WRITER"`, '/dev/null'], {
      env: { ...env, WRITER, SHELL: '/bin/sh' },
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  assert.equal(run.outcome.isTerminal, true);
  check(run);
});
