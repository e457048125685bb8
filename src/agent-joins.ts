// The meeting place of the agents of all hosts, on the main thread: a Redis server by the configuration. In: the pipeline's
// offers and questions. Out: answers to it, and word of whether the server can be reached, which people are told, too.
import { readFileSync } from 'node:fs';
import type { Config } from './config/schema.js';
import { AgentError, reasonOf } from './errors.js';
import { JoinStore } from './joins/join-store.js';
import type { Place, RedisSettings } from './joins/redis-connection.js';
import type { ToWorker } from './messages.js';
import type { Counters } from './self/counters.js';
import { clean, type Logger } from './self/log.js';

const DEFAULT_PORT = 6379;

type RedisConfig = Config['traces']['join']['redis'];

/** The store of the configuration, not yet connected; null if none is configured. @throws AgentError JOIN_SETTINGS */
export function createJoins(
  config: Config,
  tell: (message: ToWorker, transfer?: readonly ArrayBuffer[]) => void,
  log: Logger,
  counters: Counters,
): JoinStore | null {
  const { redis } = config.traces.join;
  if (redis.url === undefined) return null;
  const store = new JoinStore({
    ...serverOf(redis, redis.url),
    keyPrefix: redis.keyPrefix,
    ttlMs: redis.ttlMs,
    onUp: place => {
      tell({ type: 'joinable', isUp: true });
      log.info(`traces are joined across hosts by ${place}`);
    },
    onDown: (place, reason) => {
      tell({ type: 'joinable', isUp: false });
      const text = `no Redis at ${place}: until it is back, traces end at this host`;
      log.limited('joins', 'warn', text, { reason: clean(reason) });
    },
    onAnswers: (words, batchNumber) => tell({ type: 'join_answers', words, batchNumber }, [words.buffer]),
    onRefused: reason => log.limited('joins:refused', 'warn', 'Redis refused a command', { reason: clean(reason) }),
  });
  const { commands } = store;
  for (const outcome of Object.keys(commands) as (keyof typeof commands)[]) {
    counters.observe('underspan.joins.commands', outcome, () => commands[outcome]);
  }
  counters.observe('underspan.joins.connected', '', () => (store.isUp ? 1 : 0));
  return store;
}

/** Where the configured server is and how it is talked to; reads its files. @throws AgentError JOIN_SETTINGS */
export function serverOf(redis: RedisConfig, text: string): RedisSettings {
  const url = new URL(text);
  const isTls = url.protocol === 'rediss:';
  return {
    places: [placeOf(url), ...redis.also.map(furtherPlace)],
    username: redis.username ?? decodeURIComponent(url.username),
    password: redis.password ?? decodeURIComponent(url.password),
    database: Number(url.pathname.slice(1)),
    tls: isTls
      ? {
          ...(redis.certificate === undefined ? {} : { ca: read(redis.certificate) }),
          ...(redis.clientCertificate === undefined ? {} : { cert: read(redis.clientCertificate) }),
          ...(redis.clientKey === undefined ? {} : { key: read(redis.clientKey) }),
        }
      : null,
  };
}

function placeOf({ hostname, port }: URL): Place {
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? DEFAULT_PORT : Number(port) };
}

function furtherPlace(text: string): Place {
  const url = `redis://${text}`;
  if (!URL.canParse(url))
    throw new AgentError('JOIN_SETTINGS', { reason: `${text} in traces.join.redis.also is no host:port` });
  return placeOf(new URL(url));
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new AgentError('JOIN_SETTINGS', { reason: reasonOf(error) });
  }
}
