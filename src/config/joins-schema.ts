// The `traces.join` section of the configuration: where the agents of all hosts meet.
import type { Section } from './field.js';

export const JOIN_SECTION = {
  type: 'section',
  help: "How spans of one request find each other across hosts. Without it, each host's part is a trace of its own.",
  fields: {
    redis: {
      type: 'section',
      help: 'A Redis or Valkey server, or cluster, that the agents of all hosts reach. While it is away, traces end at each host.',
      fields: {
        url: {
          type: 'text',
          format: 'redis',
          isSecret: true,
          help: 'redis://host:port/database; rediss:// for TLS. Without it, nothing is shared.',
        },
        also: {
          type: 'words',
          default: [],
          pattern:
            '^([^\\s/:@,\\[\\]]+|\\[[0-9a-fA-F:.]+\\])(:(\\d{1,4}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d\\d|655[0-2]\\d|6553[0-5]))?$',
          patternHelp: 'host:port',
          help: 'Further nodes of the same cluster, or replicas that may take over, as host:port: tried in turn where one cannot be used.',
        },
        username: { type: 'text', help: 'Of the access control list; may also stand in the URL.' },
        password: { type: 'text', isSecret: true, help: 'May also stand in the URL.' },
        certificate: {
          type: 'text',
          format: 'path',
          help: "PEM file of the authorities that sign the server's certificate.",
        },
        client_key: { type: 'text', format: 'path', help: 'PEM file of the private key for mutual TLS.' },
        client_certificate: { type: 'text', format: 'path', help: 'PEM file of the certificate for mutual TLS.' },
        key_prefix: {
          type: 'text',
          default: 'underspan',
          help: 'Keys are {prefix}:..., braces included. The same for all agents that are to meet, and for nobody else.',
        },
        ttl_ms: {
          type: 'integer',
          default: 60000,
          min: 1000,
          max: 3600000,
          help: 'Milliseconds that the server keeps a key, by its own clock.',
        },
      },
    },
    wait_ms: {
      type: 'integer',
      default: 500,
      min: 10,
      max: 10000,
      help: 'Milliseconds that a span waits for a client on another host; ten times as long, 5 seconds at most, where its agent may be behind.',
    },
  },
} as const satisfies Section;
