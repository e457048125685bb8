// Frames of a WebSocket: counted whatever the pieces that they come in, payloads passed over, and a reason where that cannot be.
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameReader } from '../../../src/protocols/websocket.js';
import { frame } from '../../support/hostile-story.js';

const sizes = fc.array(fc.oneof(fc.nat(130), fc.nat(3000), fc.constantFrom(0, 125, 126, 65_535, 65_536)), {
  maxLength: 12,
});

test('frames of all sizes in pieces of all sizes, payloads captured or not', () => {
  fc.assert(
    fc.property(sizes, fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), (payloads, pieces) => {
      const reader = new FrameReader(true);
      const bytes = Buffer.concat(payloads.map(size => frame('client', size)));
      let at = 0;
      for (let turn = 0; at < bytes.length; turn++) {
        const size = Math.min(pieces[turn % pieces.length] as number, bytes.length - at);
        // What is certain to be payload need not be seen.
        if (size <= reader.left) reader.skip(size, 'not_captured');
        else reader.feed(bytes, at, at + size);
        at += size;
      }
      assert.deepEqual([reader.count, reader.uncounted, reader.left], [payloads.length, '', 0]);
    }),
  );
});

test('a frame that was cut short is not counted', () => {
  const reader = new FrameReader(false);
  const bytes = Buffer.concat([frame('server', 10), frame('server', 10)]);
  reader.feed(bytes, 0, bytes.length - 1);
  assert.deepEqual([reader.count, reader.uncounted], [1, '']);
});

test('a header among bytes that were not captured: no number, and the first reason', () => {
  const reader = new FrameReader(false);
  reader.feed(frame('server', 10), 0, 5);
  reader.skip(10, 'ring_full');
  reader.feed(frame('server', 1), 0, 3);
  reader.skip(1, 'not_captured');
  assert.deepEqual([reader.count, reader.uncounted], [0, 'ring_full']);
});

test('bytes that are no frames', () => {
  const of = (bytes: readonly number[], isMasked: boolean) => {
    const reader = new FrameReader(isMasked);
    reader.feed(Uint8Array.from(bytes), 0, bytes.length);
    return reader.uncounted;
  };
  assert.equal(of([0x83, 0], false), 'not_frames', 'a reserved opcode');
  assert.equal(of([0x81, 1], true), 'not_frames', 'a client that does not mask');
  assert.equal(of([0x81, 0x80, 1, 2, 3, 4], false), 'not_frames', 'a server that does');
  assert.equal(of([0x09, 0], false), 'not_frames', 'a ping in parts');
  assert.equal(of([0x89, 126, 0, 126], false), 'not_frames', 'a long ping');
  assert.equal(of([0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], false), 'not_frames', 'a length of 64 bits');
  assert.equal(of([0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false), '', 'and one of 63');
});
