// Servers that are no Redis, or lie: nothing is thrown, the connection is given up with a reason, and each command is in one
// of the books. What real servers do: test/e2e/redis.test.ts.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import test from 'node:test';
import { JoinStore } from '../../../src/joins/join-store.js';
import { until } from '../../support/processes.js';

const OFFER = [0xfedcba98, 1, 0x89abcdef, 1, 2, 3, 4, 5, 6, 1];
const QUESTION = [7, 0xfedcba98, 1];

/** Answers each command with what `replyTo` says; the greeting with +OK. */
async function serve(replyTo: () => string): Promise<Server> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.on('data', chunk => {
      const text = chunk.toString('latin1');
      const commands = text.match(/\*\d+\r\n/g)?.length ?? 0;
      socket.write(text.includes('greeting') ? '+OK\r\n' : replyTo().repeat(commands));
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

interface Told {
  readonly reason: string;
  readonly answers: number;
}

/** Offers and asks until something is said against the server; what that was. */
async function complaint(port: number): Promise<Told> {
  const reasons: string[] = [];
  const answers: number[] = [];
  const store = new JoinStore({
    ...{ places: [{ host: '127.0.0.1', port }], username: '', password: '', database: 0, tls: null },
    ...{ keyPrefix: 'test', ttlMs: 60_000 },
    onUp: () => undefined,
    onDown: (_place, reason) => reasons.push(reason),
    onAnswers: words => answers.push(...words),
    onRefused: reason => reasons.push(`refused: ${reason}`),
  });
  let sent = 0;
  try {
    store.open();
    await until('a complaint', 10_000, () => {
      store.onBatch({ number: 0, offers: Uint32Array.from(OFFER), questions: Uint32Array.from(QUESTION) });
      sent += 2;
      return reasons.length > 0 ? true : null;
    });
    await until('the books to balance', 5000, () => {
      const { answered, refused, dropped, lost } = store.commands;
      return answered + refused + dropped + lost === sent ? true : null;
    });
  } finally {
    store.close();
  }
  return { reason: reasons[0] ?? '', answers: answers.length };
}

const LIES: readonly (readonly [string, string, RegExp])[] = [
  ['bytes that are no reply', '\0\xff\r\n', /^not a reply/],
  ['an array', '*1\r\n$1\r\na\r\n', /^not a reply/],
  ['a bulk that is too long', '$99999999\r\n', /too long/],
  ['more replies than questions', '+OK\r\n+OK\r\n+OK\r\n', /nobody asked/],
  ['a replica', "-READONLY You can't write against a read only replica.\r\n", /^READONLY/],
  ['a way to no port', '-MOVED 1 127.0.0.1:99999\r\n', /^refused: MOVED/],
  ['a way to nowhere', '-MOVED 1 somewhere\r\n', /^refused: MOVED/],
  ['a slot on its way', '-ASK 1 127.0.0.1:7000\r\n', /^refused: ASK/],
  ['no memory', "-OOM command not allowed when used memory > 'maxmemory'.\r\n", /^refused: OOM/],
];

test('a server that lies is found out, and each command is in the books', async () => {
  for (const [what, reply, reason] of LIES) {
    const server = await serve(() => reply);
    const told = await complaint(portOf(server));
    assert.match(told.reason, reason, what);
    assert.equal(told.answers, 0, what);
    server.close();
  }
});

test('values that nobody of us wrote are no answers', async () => {
  const values = ['$5\r\nhello\r\n', ':7\r\n', `$66\r\n${'0'.repeat(66)}\r\n`, '$0\r\n\r\n', '-ERR end\r\n'];
  let turn = 0;
  const server = await serve(() => values[Math.min(turn++, values.length - 1)] as string);
  assert.deepEqual(await complaint(portOf(server)), { reason: 'refused: ERR end', answers: 0 });
  server.close();
});

test('nodes that send each other on in a circle are given up', async () => {
  const ways: Server[] = [];
  const on = (to: number) => serve(() => `-MOVED 1 127.0.0.1:${portOf(ways[to] as Server)}\r\n`);
  ways.push(await on(1), await on(0));
  const { reason } = await complaint(portOf(ways[0] as Server));
  assert.match(reason, /in a circle: MOVED/);
  for (const server of ways) server.close();
});
