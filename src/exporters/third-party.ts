// Any SpanExporter from npm (the OpenTelemetry SDK's interface) as a destination: loaded by module and export name,
// made with the options of the configuration, fed with decoded spans. What such an exporter throws or reports counts as
// refused: it does its own repeating. Starting up, AgentError EXPORTER_UNUSABLE says what is wrong with it.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import { AgentError, reasonOf } from '../errors.js';
import { decodeTraces } from '../otlp/decode.js';
import { EXPORTED, type Exporter, type ExportResult, type Log, withTimeout } from './exporter.js';
import { ReadableSpanFactory } from './readable-span.js';

export interface ThirdPartyOptions {
  /** A package name, or a path (relative to `baseDirectory`). */
  readonly module: string;
  /** The name of the exported class; `default` is allowed. */
  readonly export: string;
  /** The constructor's only argument. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Where packages are looked for first; default the working directory. */
  readonly baseDirectory?: string;
  /** What one export may take (OTEL_BSP_EXPORT_TIMEOUT); default 30 s. */
  readonly timeoutMs?: number;
  readonly log: Log;
}

/** Loads and makes the exporter. Rejects with AgentError EXPORTER_UNUSABLE. */
export async function loadThirdPartyExporter(options: ThirdPartyOptions): Promise<Exporter> {
  try {
    return new ThirdPartyExporter(await makeSpanExporter(options), options);
  } catch (error) {
    const parameters = { module: options.module, export: options.export, reason: reasonOf(error) };
    throw new AgentError('EXPORTER_UNUSABLE', parameters, { cause: error });
  }
}

async function makeSpanExporter(options: ThirdPartyOptions): Promise<SpanExporter> {
  const exported = findExport(await importModule(options), options.export);
  if (typeof exported !== 'function') throw new Error('the module has no such class');
  const made: unknown = new (exported as new (options: unknown) => unknown)(options.options);
  if (!isSpanExporter(made)) throw new Error('it has no methods export and shutdown');
  return made;
}

/** The user's packages come before ours; a package that only offers ES modules cannot be resolved the first way. */
async function importModule({ module, baseDirectory = process.cwd() }: ThirdPartyOptions): Promise<object> {
  const resolver = createRequire(resolve(baseDirectory, 'underspan.js'));
  let location = module;
  try {
    location = pathToFileURL(resolver.resolve(module)).href;
  } catch (error) {
    if (module.startsWith('.') || module.startsWith('/')) throw error;
  }
  return (await import(location)) as object;
}

/** CommonJS modules may show their exports only under `default`. */
function findExport(module: object, name: string): unknown {
  const direct = Reflect.get(module, name) as unknown;
  if (direct !== undefined) return direct;
  const inner = Reflect.get(module, 'default') as unknown;
  return typeof inner === 'object' && inner !== null ? Reflect.get(inner, name) : undefined;
}

function isSpanExporter(made: unknown): made is SpanExporter {
  if (typeof made !== 'object' || made === null) return false;
  const { export: send, shutdown } = made as Partial<SpanExporter>;
  return typeof send === 'function' && typeof shutdown === 'function';
}

class ThirdPartyExporter implements Exporter {
  readonly name: string;
  readonly canBeAway = false;
  readonly keepsBytes = true;
  readonly #exporter: SpanExporter;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #factory = new ReadableSpanFactory();

  constructor(exporter: SpanExporter, options: ThirdPartyOptions) {
    this.name = `${options.export} of ${options.module}`;
    this.#exporter = exporter;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#log = options.log;
  }

  async export(bytes: Uint8Array, _itemCount: number): Promise<ExportResult> {
    const spans = this.#factory.toReadableSpans(decodeTraces(bytes));
    const outcome = new Promise<ExportResult>(resolve => {
      try {
        this.#exporter.export(spans, ({ code, error }) => {
          if (code === 0) resolve(EXPORTED);
          else resolve({ kind: 'refused', code: error?.name ?? 'failed', message: error?.message ?? 'export failed' });
        });
      } catch (error) {
        resolve({ kind: 'refused', code: 'exception', message: reasonOf(error) });
      }
    });
    const message = `no answer within ${this.#timeoutMs} ms`;
    return withTimeout(outcome, this.#timeoutMs, { kind: 'refused', code: 'timeout', message });
  }

  async shutdown(timeoutMs: number): Promise<void> {
    const closed = async (): Promise<void> => {
      try {
        await this.#exporter.shutdown();
      } catch (error) {
        this.#log('warn', `${this.name}: failed to shut down: ${reasonOf(error)}`);
      }
    };
    await withTimeout(closed(), timeoutMs, undefined);
  }
}
