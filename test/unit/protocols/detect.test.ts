// Which first bytes are taken for HTTP/1, and which of other protocols are not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { detectRequest, detectResponse } from '../../../src/protocols/detect.js';
import { http1 } from '../../../src/protocols/http1.js';
import type { Protocol } from '../../../src/protocols/protocol.js';
import { PROTOCOLS } from '../../../src/protocols/registry.js';

type Detect = (bytes: Uint8Array, from: number, to: number) => Protocol | null;

/** Detects in the middle of a buffer whose other bytes would change the answer if they were looked at. */
function nameOf(detect: Detect, text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  const names = [0x00, 0x0a, 0x20, 0x41, 0x31].map(around => {
    const buffer = Buffer.concat([Buffer.alloc(20, around), bytes, Buffer.alloc(20, around)]);
    return detect(buffer, 20, 20 + bytes.length)?.name ?? '';
  });
  assert.equal(new Set(names).size, 1, `bytes around ${JSON.stringify(text)} make a difference`);
  return names[0] ?? '';
}

const REQUESTS = [
  'GET / HTTP/1.1\r\n',
  'GET / HTTP/1.0\nHost: a\n\n',
  '\r\n\r\nGET / HTTP/1.1\r\n',
  'OPTIONS * HTTP/1.1\r\n',
  'CONNECT [::1]:443 HTTP/1.1\r\n',
  'GET http://a/b HTTP/1.1\r\n',
  'm-search * HTTP/1.1\r\n',
  'GET /größe HTTP/1.1\r\n',
  'GET /my file HTTP/1.1\r\n',
  'GET / HTTP/1.1 \r\n',
  'G',
  'GET',
  'GET ',
  'GET /',
  'GET /a H',
  'GET /a HTTP/1.',
  'GET /a HTTP/1.1',
  `GET /${'a'.repeat(5000)}`,
];

const NO_REQUESTS = [
  '',
  '\r\n',
  ' GET / HTTP/1.1\r\n',
  'GET / HTTP/2.0\r\n',
  'GET /\r\n',
  'GET  HTTP/1.1\r\n',
  'GET / HTTP/1.1x\r\n',
  'GET / http/1.1\r\n',
  'GET /a X',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'HTTP/1.1 200 OK\r\n',
  'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n',
  'EHLO mail.example.com\r\n',
  '220 mail.example.com ESMTP\r\n',
  'a001 LOGIN user password\r\n',
  '*1\r\n$4\r\nPING\r\n',
  '+OK\r\n',
  'get key\r\n',
  'CONNECT {"verbose":false}\r\n',
  'AMQP\0\0\x09\x01',
  '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03',
  '\0\0\0\x08\x04\xd2\x16\x2f',
  'Q\0\0\0\x0dSELECT 1\0',
  'J\0\0\0\x0a8.0.35\0',
  '\x3f\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0',
  '{"a": 1}',
  'x'.repeat(100),
];

const RESPONSES = [
  'H',
  'HTTP/1',
  'HTTP/1.1',
  'HTTP/1.1 ',
  'HTTP/1.1 2',
  'HTTP/1.0 404 x\r\n',
  '\r\nHTTP/1.1 200 OK\r\n',
];

const NO_RESPONSES = [
  '',
  '\r\n',
  'GET / HTTP/1.1\r\n',
  'HTTP/2 200\r\n',
  'HTTP/1.x',
  'HTTP/1.11 200',
  'HTTP/1.1 0',
  'HTTP/1.1 x',
  'ICY 200 OK\r\n',
  'RTSP/1.0 200 OK\r\n',
  '220 ready\r\n',
  '\0\0\x12\x04\0\0\0\0\0',
];

test('beginnings of requests are recognised, however few bytes there are', () => {
  for (const text of REQUESTS) assert.equal(nameOf(detectRequest, text), 'http1', JSON.stringify(text.slice(0, 40)));
});

test('other protocols are no requests', () => {
  for (const text of NO_REQUESTS) assert.equal(nameOf(detectRequest, text), '', JSON.stringify(text.slice(0, 40)));
});

test('beginnings of responses are recognised', () => {
  for (const text of RESPONSES) assert.equal(nameOf(detectResponse, text), 'http1', JSON.stringify(text));
});

test('other protocols are no responses', () => {
  for (const text of NO_RESPONSES) assert.equal(nameOf(detectResponse, text), '', JSON.stringify(text));
});

test('the registry names each protocol once', () => {
  assert.ok(PROTOCOLS.includes(http1));
  assert.equal(new Set(PROTOCOLS.map(({ name }) => name)).size, PROTOCOLS.length);
});
