// Stories of io_uring, whose operations the system-call front end does not see: no span is made up for what went through it, the
// other side's spans are as ever, and those of the same connection go on once both directions are understood again.
import { AFTER, type Step, type Story, story, type Talk } from './hostile-story.js';

/** By the client only: one half of it went through the server's io_uring. */
const unseen: Talk = { ...AFTER, wanted: { ...AFTER.wanted, sides: ['client'] } };
const { length: asked } = AFTER.request;
const { length: answered } = AFTER.response;

export const IO_URING: readonly Story[] = [
  story('answered through io_uring', [unseen], {
    server: [
      ['receive', asked],
      ['send_uring', answered],
    ],
  }),
  story('taken through io_uring', [unseen], {
    server: [
      ['receive_uring', asked],
      ['send', answered],
    ],
  }),
  story('taken and answered through io_uring', [unseen, unseen], {
    server: [
      ['receive_uring', asked],
      ['send_uring', answered],
      ['receive_uring', asked],
      ['send_uring', answered],
    ],
  }),
  story('accepted through io_uring', [AFTER, AFTER], { isAcceptedByRing: true }),
  story('accepted, taken and answered through io_uring', [unseen], {
    isAcceptedByRing: true,
    server: [['receive_uring', asked], ['send_uring', answered], ['sleep', 5], ['close']],
  }),
  story('accepted, taken and answered through io_uring, then reset', [unseen], {
    isAcceptedByRing: true,
    client: [['send', asked], ['receive', answered], ['reset']],
    server: [['receive_uring', asked], ['send_uring', answered], ['sleep', 5], ['close']],
  }),
  // The answer that was not seen may still be due when the third request is answered: that takes one more turn to be sure of.
  story('one answer of five through io_uring', [AFTER, unseen, unseen, unseen, AFTER], {
    server: [0, 1, 2, 3, 4].flatMap((turn): Step[] => [
      ['receive', asked],
      [turn === 1 ? 'send_uring' : 'send', answered],
    ]),
  }),
];

/** What those that say so move through io_uring. */
export const UNSEEN_BYTES = 5 * asked + 6 * answered;
