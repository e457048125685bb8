// Stories of what keeps TCP waiting: the peer's shut window, a small send buffer, bytes that stay undelivered. TCP's own account
// right after the last write is what the span is held against.
import { filler, request, response, type Story, story, talk } from './hostile-story.js';

const download = (bytes: number) =>
  talk(request('GET', '/download'), response(200, filler(bytes)), { responseBody: bytes });
const long = download(400_000);
const short = download(60_000);

export const FLOWS: readonly Story[] = [
  story('a reader whose window stays shut for a while', [long], {
    clientReceiveBuffer: 8192,
    client: [['send'], ['sleep', 200], ['receive', long.response.length]],
    server: [['buffers', 16_384], ['receive', long.request.length], ['send'], ['facts']],
    areCallsJudged: false,
  }),
  story('all given to the kernel, little of it sent', [short], {
    clientReceiveBuffer: 8192,
    client: [['send'], ['wait'], ['receive', short.response.length]],
    server: [['buffers', 200_000], ['receive', short.request.length], ['send'], ['facts'], ['tell']],
  }),
];

/** Where a round trip takes its time: between two writes the small buffer is empty, and TCP has nothing to send. */
export const FAR_FLOWS: readonly Story[] = [
  story('a small send buffer', [long], {
    client: [['send'], ['receive', long.response.length]],
    server: [['buffers', 8192], ['receive', long.request.length], ['send'], ['facts']],
    areCallsJudged: false,
  }),
];
