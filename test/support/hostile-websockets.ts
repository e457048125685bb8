// Stories of WebSockets: one span until the close, with the bytes and the frames of each direction, however they were cut and
// moved; and what is not told where a frame's header went by without being captured.
import {
  filler,
  frame,
  request,
  type Sidedness,
  type Step,
  type Story,
  story,
  type Talk,
  talk,
} from './hostile-story.js';

const HEAD = request('GET', '/socket', 'Connection: Upgrade\r\nUpgrade: WebSocket\r\n');
const UPGRADED = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
const CLOSE: readonly Step[] = [['sleep', 3], ['close']];

function socketOf(asked: readonly Buffer[], answered: readonly Buffer[]): Talk {
  const [sent, received] = [Buffer.concat(asked), Buffer.concat(answered)];
  return talk(Buffer.concat([Buffer.from(HEAD), sent]), Buffer.concat([Buffer.from(UPGRADED), received]), {
    responseBody: -1,
    tunnelBytes: sent.length,
    endsWithClose: true,
    frames: { asked: asked.length, answered: answered.length },
  });
}

const lengthOf = (parts: readonly Buffer[]) => parts.reduce((sum, part) => sum + part.length, 0);
const many = (sender: Sidedness, count: number, bytes: number) =>
  Array.from({ length: count }, (_, index) => frame(sender, bytes, index % 7 === 0 ? 9 : 1));

/** The upgrade, then what each side does with its frames. */
function played(name: string, socket: Talk, client: readonly Step[], server: readonly Step[]): Story {
  return story(name, [socket], {
    client: [['send', HEAD.length], ['receive', UPGRADED.length], ...client, ['receive_eof'], ['close']],
    server: [['receive', HEAD.length], ['send', UPGRADED.length], ...server, ...CLOSE],
  });
}

const talkative = [frame('client', 5), frame('client', 0, 10), frame('client', 300, 2)];
const answers = [frame('server', 100, 1, false), frame('server', 7, 0), frame('server', 2, 8)];
const [first = Buffer.alloc(0), ...others] = talkative;
const [opening = Buffer.alloc(0), ...closing] = answers;
const bursts = { asked: many('client', 300, 20), answered: many('server', 400, 30) };
const fewer = { asked: many('client', 110, 20), answered: many('server', 90, 30) };
const large = [frame('server', 70_000), frame('server', 5), frame('server', 66_000)];
const behind = [frame('client', 9000), frame('client', 9000)];
const together = { asked: many('client', 2000, 6), answered: [...many('server', 3000, 12), ...large] };

const other = talk(
  request('GET', '/other', 'Connection: Upgrade\r\nUpgrade: h2c\r\n') + filler(70),
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n${filler(90)}`,
  { responseBody: -1, tunnelBytes: 70, endsWithClose: true },
);
const otherHead = other.request.length - 70;
const otherAnswer = other.response.length;
const nonsense = talk(HEAD, `${UPGRADED}xx${filler(88)}`, {
  responseBody: -1,
  endsWithClose: true,
  frames: { asked: 0, answered: 0, uncounted: { side: 'both', direction: 'answered', reason: 'not_frames' } },
});

export const WEBSOCKETS: readonly Story[] = [
  played(
    'a WebSocket',
    socketOf(talkative, answers),
    [
      ['receive', opening.length],
      ['send', first.length],
      ['sleep', 4],
      ['send', lengthOf(others)],
      ['receive', lengthOf(closing)],
    ],
    [
      ['sleep', 4],
      ['send', opening.length],
      ['receive', lengthOf(talkative)],
      ['sleep', 4],
      ['send', lengthOf(closing)],
    ],
  ),
  story('a WebSocket whose first frames come with the 101', [socketOf(talkative, answers)], {
    client: [
      ['send', HEAD.length],
      ['receive', UPGRADED.length + lengthOf(answers)],
      ['send', lengthOf(talkative)],
      ['receive_eof'],
      ['close'],
    ],
    server: [
      ['receive', HEAD.length],
      ['send', UPGRADED.length + lengthOf(answers)],
      ['receive', lengthOf(talkative)],
      ...CLOSE,
    ],
  }),
  played(
    'a WebSocket, byte by byte',
    socketOf(talkative, answers),
    [
      ['send_pieces', lengthOf(talkative), 1],
      ['receive', lengthOf(answers), 1],
    ],
    [
      ['receive', lengthOf(talkative), 1],
      ['send_pieces', lengthOf(answers), 1],
    ],
  ),
  played(
    'a WebSocket, frame by frame without a change of direction',
    socketOf(bursts.asked, bursts.answered),
    [
      ['receive', lengthOf(bursts.answered), 3000],
      ['send_pieces', lengthOf(bursts.asked), 26],
    ],
    [
      ['send_pieces', lengthOf(bursts.answered), 32],
      ['receive', lengthOf(bursts.asked), 4096],
    ],
  ),
  played(
    'a WebSocket in vectors',
    socketOf(fewer.asked, fewer.answered),
    [
      ['readv', lengthOf(fewer.answered), 2000],
      ['writev', lengthOf(fewer.asked), 500],
    ],
    [
      ['writev', lengthOf(fewer.answered), 450],
      ['readv', lengthOf(fewer.asked), 3000],
    ],
  ),
  played(
    'a WebSocket with frames larger than what is captured',
    socketOf([], large),
    [['receive', lengthOf(large), 5000]],
    large.map((one): Step => ['send', one.length]),
  ),
  played(
    'a WebSocket with a header behind what is captured of a call',
    socketOf(behind, answers),
    [...behind.map((one): Step => ['send', one.length]), ['tell'], ['receive', lengthOf(answers)]],
    [['wait'], ['receive', lengthOf(behind)], ['send', lengthOf(answers)]],
  ),
  played(
    'a WebSocket with thousands of frames in a call',
    socketOf(together.asked, together.answered),
    [
      ['receive', lengthOf(together.answered)],
      ['send', lengthOf(together.asked)],
    ],
    [
      ['send', lengthOf(together.answered)],
      ['receive', lengthOf(together.asked)],
    ],
  ),
  story('a WebSocket whose 101 comes byte by byte', [socketOf(talkative, answers)], {
    client: [
      ['send', HEAD.length],
      ['receive', UPGRADED.length, 1],
      ['receive', lengthOf(answers)],
      ['send', lengthOf(talkative)],
      ['receive_eof'],
      ['close'],
    ],
    server: [
      ['receive', HEAD.length],
      ['send_pieces', UPGRADED.length + lengthOf(answers), 1],
      ['receive', lengthOf(talkative)],
      ...CLOSE,
    ],
  }),
  story('an upgrade to something else', [other], {
    client: [['send', otherHead], ['receive', otherAnswer - 90], ['receive', 90], ['send'], ['receive_eof'], ['close']],
    server: [['receive', otherHead], ['send'], ['receive', 70], ...CLOSE],
  }),
  story('a WebSocket that sends no frames', [nonsense], {
    client: [['send', HEAD.length], ['receive', nonsense.response.length], ['receive_eof'], ['close']],
    server: [['receive', HEAD.length], ['send'], ...CLOSE],
  }),
];
