// The line on the queue in `underspan doctor`, for folders of this machine.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { queueCheck } from '../../../src/cli/queue-check.js';
import { loadConfig } from '../../../src/config/load.js';

const folder = mkdtempSync(path.join(tmpdir(), 'underspan-queue-check-'));
test.after(() => rmSync(folder, { recursive: true }));

function checkOf(environment: Record<string, string>) {
  return queueCheck(loadConfig({ environment }).config);
}

test('a folder that is yet to be made: there is room above it, and it is not made', () => {
  const directory = path.join(folder, 'a', 'b');
  const { state, detail } = checkOf({ UNDERSPAN_QUEUE_DIR: directory, UNDERSPAN_QUEUE_MIN_FREE_BYTES: '0' });
  assert.equal(state, 'ok');
  assert.match(detail, /^up to \d+ MiB in .*a\/b$/);
  assert.ok(!existsSync(path.join(folder, 'a')));
});

test('less room than allowed, and none', () => {
  const bytes = String(1024 ** 4);
  const some = checkOf({
    UNDERSPAN_QUEUE_DIR: folder,
    UNDERSPAN_QUEUE_MAX_BYTES: bytes,
    UNDERSPAN_QUEUE_MIN_FREE_BYTES: '0',
  });
  assert.equal(some.state, 'note');
  assert.match(some.detail, /the file system has no more/);
  const none = checkOf({ UNDERSPAN_QUEUE_DIR: folder, UNDERSPAN_QUEUE_MIN_FREE_BYTES: bytes });
  assert.equal(none.state, 'lost');
  assert.match(none.detail, /is full, .* in memory only/);
  assert.equal(none.isRequired, false);
});

test('no folder at all, and none wanted', () => {
  const file = path.join(folder, 'file');
  writeFileSync(file, '');
  const { state, detail, remedy } = checkOf({ UNDERSPAN_QUEUE_DIR: path.join(file, 'below') });
  assert.equal(state, 'lost');
  assert.match(detail, /in memory only/);
  assert.match(remedy, /queue\.directory/);
  assert.equal(checkOf({ UNDERSPAN_QUEUE_ENABLED: 'false' }).state, 'note');
});
