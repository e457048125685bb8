// A name server beside a chain, on TCP and UDP port PORT: every name is 127.0.0.1, after DELAY_MS.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const port = Number(process.env.PORT);
const delayMs = Number(process.env.DELAY_MS ?? 5);
const FLAGS = 0x8180;
// Of the answer: the name at offset 12, an address of the internet, for 0 s, 127.0.0.1
const ANSWER = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);

const socket = createSocket('udp4');
socket.on('message', (question, { port: to, address }) => {
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(FLAGS, 2);
  head.writeUInt16BE(1, 6);
  const answer = Buffer.concat([head, question.subarray(12), ANSWER]);
  setTimeout(() => socket.send(answer, to, address), delayMs);
});
// What the chain waits for, in the end.
socket.bind(port, '127.0.0.1', () => createServer().listen(port, '127.0.0.1'));
