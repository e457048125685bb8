// Requests that are lent to a queue: as in the agent, their memory is written over as soon as the queue says that nobody
// reads it any more.
import assert from 'node:assert/strict';
import type { ExportQueue } from '../../../src/exporters/queue.js';

const OVERWRITTEN = 0xee;

export class Lent {
  #lent = 0;

  /** Of requests whose last byte is not 0xee. */
  offer(queue: ExportQueue, bytes: Uint8Array, itemCount: number): void {
    let isGone = false;
    this.#lent++;
    queue.offer(bytes, itemCount, () => {
      assert.equal(isGone, false, 'given back twice');
      isGone = true;
      this.#lent--;
      bytes.fill(OVERWRITTEN);
    });
  }

  /** For what an exporter reads. */
  static check(bytes: Uint8Array): void {
    assert.notEqual(bytes.at(-1), OVERWRITTEN, 'read after it was given back');
  }

  /** Lent and not given back. */
  get count(): number {
    return this.#lent;
  }
}
