// The `traces.sampling` section of the configuration: what is kept beside, or in place of, the sampler's choice.
import type { Section } from './field.js';

const RULE = {
  type: 'section',
  help: 'A share for the traces that begin with a matching request.',
  required: ['ratio'],
  fields: {
    service: { type: 'text', format: 'glob', help: 'Glob on service.name.' },
    path: { type: 'text', format: 'glob', help: 'Glob on the path of the request, e.g. /health or /static/**.' },
    ratio: { type: 'number', min: 0, max: 1, help: 'Share of these traces that is kept.' },
  },
} as const satisfies Section;

export const SAMPLING_SECTION = {
  type: 'section',
  help: 'What is kept beside, or in place of, what the sampler chooses. Metrics see every request.',
  fields: {
    rules: {
      type: 'list',
      item: RULE,
      max: 1000,
      reloads: true,
      help: 'Shares by the first request of a trace on this host, the first match counts. A decision that came with a request goes before.',
    },
    keep_errors: {
      type: 'boolean',
      default: false,
      help: "Keep what was not sampled if one of the trace's requests on this host failed.",
    },
    keep_slower_than_ms: {
      type: 'integer',
      default: 0,
      min: 0,
      max: 86400000,
      help: 'The same if one took at least that long; 0: none is slow.',
    },
    keep_resent: {
      type: 'boolean',
      default: false,
      help: 'The same if TCP had to send something again before the response had been given to it, or, of a call, been read.',
    },
    wait_ms: {
      type: 'integer',
      default: 2000,
      min: 10,
      max: 60000,
      help: 'Milliseconds that spans which were not sampled wait for the rest of their trace, where one of the three is set, once its first request on this host has ended (for which they wait a minute at most).',
    },
  },
} as const satisfies Section;
