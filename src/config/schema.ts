// The configuration, said once: the `Config` type, defaults, bounds, environment variables and help text all follow from
// this table (field.ts has the words). After a change here run `node dist/src/config/generate.js`; a unit test fails
// while config/schema.json or config/underspan.yaml differ from it.
import type { Resolve, Section } from './field.js';
import { JOIN_SECTION } from './joins-schema.js';
import { OTLP_SECTION } from './otlp-schema.js';
import { SAMPLING_SECTION } from './sampling-schema.js';

export type { PortRange } from './field.js';

const MIB = 1024 * 1024;

const SELECTOR = {
  type: 'section',
  help: 'Criteria of one selector; all that are given must hold.',
  isNeverEmpty: true,
  fields: {
    pid: { type: 'integer', min: 1, max: 4194304, help: 'Process id.' },
    exe: {
      type: 'text',
      format: 'glob',
      help: 'Glob on the executable: its whole path if the glob has a slash, else its base name.',
    },
    script: {
      type: 'text',
      format: 'glob',
      help: 'Glob on the script or jar that an interpreter runs (app.py, server.js, shop.jar).',
    },
    command: { type: 'text', format: 'regex', help: 'Regular expression on the whole command line.' },
    listen_port: { type: 'ports', help: "Local port of the server side: 8080, [80, 443] or '8000-8999'." },
    peer_port: { type: 'ports', help: 'Remote port of the client side, written like listen_port.' },
    container: {
      type: 'text',
      format: 'glob',
      help: 'Container id (a prefix of 4 or more digits) or glob on its name.',
    },
  },
} as const satisfies Section;

const ROUTES_OF_SERVICE = {
  type: 'section',
  help: 'Route patterns of the services whose name matches.',
  required: ['service', 'patterns'],
  fields: {
    service: { type: 'text', format: 'glob', help: 'Glob on service.name.' },
    patterns: {
      type: 'words',
      pattern: '^/',
      patternHelp: 'a pattern that begins with /',
      help: 'Patterns such as /users/{id} or /static/*, tried in order.',
    },
  },
} as const satisfies Section;

const SERVICE_NAME = {
  type: 'section',
  help: 'A name for the processes that match.',
  required: ['name'],
  fields: {
    match: SELECTOR,
    name: { type: 'text', help: 'service.name.' },
  },
} as const satisfies Section;

const THIRD_PARTY_EXPORTER = {
  type: 'section',
  help: 'A SpanExporter of the OpenTelemetry JavaScript SDK, from npm.',
  required: ['module', 'export'],
  fields: {
    module: { type: 'text', help: 'Package name or absolute path.' },
    export: { type: 'text', help: 'Name of the exported class.' },
    options: { type: 'anymap', default: {}, help: 'Handed to the constructor.' },
  },
} as const satisfies Section;

export const CONFIG_SCHEMA = {
  type: 'section',
  help: 'Configuration of Underspan. Flags win over environment variables, these over this file.',
  fields: {
    disabled: {
      type: 'boolean',
      default: false,
      env: ['OTEL_SDK_DISABLED'],
      help: 'Attach nothing and export nothing.',
    },
    selection: {
      type: 'section',
      help: 'Which processes and connections are observed: any include selector, and no exclude selector.',
      fields: {
        include: { type: 'list', item: SELECTOR, max: 31, reloads: true, help: 'Without any, all processes.' },
        exclude: { type: 'list', item: SELECTOR, max: 31, reloads: true, help: 'The agent itself is always excluded.' },
      },
    },
    capture: {
      type: 'section',
      help: 'What is copied out of the kernel.',
      fields: {
        head_bytes: {
          type: 'integer',
          default: 4096,
          min: 256,
          max: 16384,
          help: 'Bytes of each message head that are kept at most. Longer heads are parsed as far as they reach.',
        },
        redact: {
          type: 'boolean',
          default: true,
          help: 'Recordings hold no bodies, queries, credentials or arguments of commands, and values of the header fields that spans need only.',
        },
      },
    },
    kernel: {
      type: 'section',
      help: 'Sizes and choices on the kernel side.',
      fields: {
        data_ring_bytes: {
          type: 'integer',
          default: 16 * MIB,
          min: MIB,
          max: 1024 * MIB,
          isPowerOfTwo: true,
          help: 'Ring of the records that carry captured bytes. While the agent is behind, up to 64 MiB more wait in its own memory for some seconds, or a quarter of limits.memory_bytes.',
        },
        control_ring_bytes: {
          type: 'integer',
          default: 2 * MIB,
          min: 65536,
          max: 256 * MIB,
          isPowerOfTwo: true,
          help: 'Ring of the records of connections and processes that open and end.',
        },
        max_connections: {
          type: 'integer',
          default: 65536,
          min: 256,
          max: 4194304,
          help: 'Connections that are followed at the same time; more are counted as dropped.',
        },
        max_followed_steps: {
          type: 'integer',
          default: 50000,
          min: 0,
          max: 1_000_000_000,
          help: 'Steps a second on one CPU that programs may take where these are followed: values that go through channels of Go, or queues of Python, steps of asyncio tasks, switches of greenlets, requests that nginx goes on with, turns of tasks of tokio. Each costs the program some 3 us. Beyond that they are followed no more, and their calls have a parent only where little is going on; 0: never followed.',
        },
        drain_interval_ms: {
          type: 'integer',
          default: 10,
          min: 1,
          max: 1000,
          help: 'Milliseconds between two looks into the rings. What is little waits for more, up to 50 ms.',
        },
        btf: {
          type: 'text',
          format: 'path',
          default: '',
          help: "BTF file; empty: the kernel's own in /sys/kernel/btf.",
        },
        front_end: {
          type: 'choice',
          choices: ['auto', 'fentry', 'kprobe', 'syscall'],
          default: 'auto',
          help: 'How sockets are watched: auto takes the best that this kernel allows, any other value only that.',
        },
      },
    },
    http: {
      type: 'section',
      help: 'HTTP spans and metrics.',
      fields: {
        known_methods: {
          type: 'words',
          default: [],
          pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$",
          patternHelp: 'a method name (RFC 9110 section 9.1)',
          env: ['OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS'],
          help: 'Methods that keep their name, in place of the standard ones; others become _OTHER. Empty: standard.',
        },
        url_query: {
          type: 'boolean',
          default: false,
          help: 'Export url.query, and the query in url.full. Queries often hold secrets.',
        },
        max_routes_per_service: {
          type: 'integer',
          default: 100,
          min: 1,
          max: 10000,
          reloads: true,
          help: 'Different http.route values of one service; further paths share wildcards.',
        },
        routes: { type: 'list', item: ROUTES_OF_SERVICE, max: 1000, reloads: true, help: 'Known routes by service.' },
        response_timeout_ms: {
          type: 'integer',
          default: 600000,
          min: 1000,
          max: 86400000,
          help: 'Milliseconds after which a request without response ends as a timeout and leaves the memory.',
        },
      },
    },
    traces: {
      type: 'section',
      help: 'Spans.',
      fields: {
        exporters: {
          type: 'words',
          choices: ['otlp', 'console', 'none'],
          default: [],
          env: ['OTEL_TRACES_EXPORTER'],
          help: 'Empty: otlp where an OTLP endpoint is configured, else console.',
        },
        sampler: {
          type: 'choice',
          choices: [
            'always_on',
            'always_off',
            'traceidratio',
            'parentbased_always_on',
            'parentbased_always_off',
            'parentbased_traceidratio',
          ],
          default: 'parentbased_always_on',
          env: ['OTEL_TRACES_SAMPLER'],
          reloads: true,
          help: 'Which traces are kept. Metrics see every request whatever is chosen here.',
        },
        sampler_arg: {
          type: 'number',
          default: 1,
          min: 0,
          max: 1,
          env: ['OTEL_TRACES_SAMPLER_ARG'],
          reloads: true,
          help: 'Share of traces that the traceidratio samplers keep.',
        },
        sampling: SAMPLING_SECTION,
        max_requests_per_trace: {
          type: 'integer',
          default: 10000,
          min: 1,
          max: 1000000000,
          help: 'Requests on this host for which one trace id is taken from headers or other hosts, and calls that become children of requests in one trace; later ones begin a trace with a link to it.',
        },
        max_trace_age_ms: {
          type: 'integer',
          default: 3600000,
          min: 1000,
          max: 604800000,
          help: 'The same bound as milliseconds since a trace was first seen.',
        },
        propagators: {
          type: 'words',
          choices: ['tracecontext', 'baggage', 'b3', 'b3multi', 'jaeger', 'xray', 'none'],
          default: ['tracecontext', 'b3', 'b3multi', 'jaeger', 'xray'],
          env: ['OTEL_PROPAGATORS'],
          help: 'Headers that name the parent of a request, the first valid one counts. Nothing is ever written.',
        },
        instrumented_services: {
          type: 'choice',
          choices: ['skip', 'trace'],
          default: 'skip',
          help: 'Processes that export traces by OTLP themselves: skip leaves to them the requests that they serve and the calls that they put a header into. Metrics see them all the same.',
        },
        join: JOIN_SECTION,
        parent_evidence: {
          type: 'choice',
          choices: ['none', 'goroutine', 'task', 'fork', 'thread', 'slice', 'loop'],
          default: 'slice',
          help: 'The weakest evidence inside a process that makes a request the parent of a call; weaker ones become span links.',
        },
        connect_spans: {
          type: 'boolean',
          default: true,
          help: 'A `socket connect` span for each connect of a client.',
        },
        max_queue_bytes: {
          type: 'integer',
          default: 32 * MIB,
          min: MIB,
          max: 1024 * MIB,
          help: 'Bytes of finished spans that wait for one exporter; more are dropped and counted.',
        },
        max_queue_size: {
          type: 'integer',
          default: 65536,
          min: 512,
          max: 10000000,
          env: ['OTEL_BSP_MAX_QUEUE_SIZE'],
          help: 'The same bound as a number of spans.',
        },
        max_export_batch_size: {
          type: 'integer',
          default: 4096,
          min: 1,
          max: 100000,
          env: ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE'],
          help: 'Spans in one export.',
        },
        schedule_delay_ms: {
          type: 'integer',
          default: 1000,
          min: 10,
          max: 60000,
          env: ['OTEL_BSP_SCHEDULE_DELAY'],
          help: 'Milliseconds that a finished span waits for others at most.',
        },
        export_timeout_ms: {
          type: 'integer',
          default: 30000,
          min: 1,
          max: 600000,
          env: ['OTEL_BSP_EXPORT_TIMEOUT'],
          help: 'Milliseconds after which an export counts as failed.',
        },
      },
    },
    metrics: {
      type: 'section',
      help: 'Metrics of the services and of the agent.',
      fields: {
        exporters: {
          type: 'words',
          choices: ['otlp', 'console', 'none', 'prometheus'],
          default: [],
          env: ['OTEL_METRICS_EXPORTER'],
          help: 'Empty: prometheus (/metrics of the admin listener), and otlp where an OTLP endpoint is configured.',
        },
        interval_ms: {
          type: 'integer',
          default: 60000,
          min: 100,
          max: 86400000,
          env: ['OTEL_METRIC_EXPORT_INTERVAL'],
          help: 'Milliseconds between two exports.',
        },
        export_timeout_ms: {
          type: 'integer',
          default: 30000,
          min: 1,
          max: 600000,
          env: ['OTEL_METRIC_EXPORT_TIMEOUT'],
          help: 'Milliseconds after which an export counts as failed.',
        },
        temporality: {
          type: 'choice',
          choices: ['cumulative', 'delta', 'lowmemory'],
          default: 'cumulative',
          env: ['OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE'],
          help: 'Temporality of OTLP metrics.',
        },
        max_series: {
          type: 'integer',
          default: 2000,
          min: 10,
          max: 1000000,
          help: 'Series of one metric of one service; further ones share the series otel.metric.overflow=true.',
        },
      },
    },
    otlp: OTLP_SECTION,
    queue: {
      type: 'section',
      help: 'What an OTLP destination that is away or slow leaves undelivered is kept on disk; otherwise nothing is written.',
      fields: {
        enabled: { type: 'boolean', default: true, help: 'Keep it on disk; else in memory only.' },
        directory: {
          type: 'text',
          format: 'path',
          default: '/var/lib/underspan/queue',
          env: ['UNDERSPAN_QUEUE_DIR'],
          help: 'Folder; one agent at a time uses it.',
        },
        max_bytes: {
          type: 'integer',
          default: 1024 * MIB,
          min: 16 * MIB,
          max: 1024 * 1024 * MIB,
          help: 'Bytes on disk of all destinations together (compressed); beyond, the oldest is dropped and counted.',
        },
        max_age_ms: {
          type: 'integer',
          default: 3600000,
          min: 1000,
          max: 604800000,
          help: 'Milliseconds after which it is not worth delivering any more.',
        },
        min_free_bytes: {
          type: 'integer',
          default: 512 * MIB,
          min: 0,
          max: 1024 * 1024 * MIB,
          help: 'Free space of the file system that is left to others.',
        },
      },
    },
    exporters: { type: 'list', item: THIRD_PARTY_EXPORTER, max: 16, help: 'Span exporters of third parties.' },
    resource: {
      type: 'section',
      help: 'What is said about the observed services.',
      fields: {
        attributes: {
          type: 'textmap',
          default: {},
          env: ['OTEL_RESOURCE_ATTRIBUTES'],
          help: 'Added to the resource of every service, e.g. deployment.environment.name.',
        },
        service_names: {
          type: 'list',
          item: SERVICE_NAME,
          max: 1000,
          reloads: true,
          help: 'Names by rule; the first match counts.',
        },
        agent_name: {
          type: 'text',
          default: 'underspan',
          env: ['OTEL_SERVICE_NAME'],
          help: "service.name of the agent's own metrics.",
        },
      },
    },
    admin: {
      type: 'section',
      help: 'Listener for /readyz, /healthz and /metrics.',
      fields: {
        enabled: { type: 'boolean', default: true, help: 'Listen at all.' },
        host: {
          type: 'text',
          default: '127.0.0.1',
          env: ['OTEL_EXPORTER_PROMETHEUS_HOST'],
          help: 'Address; no authentication is asked, so beyond loopback think twice.',
        },
        port: {
          type: 'integer',
          default: 9464,
          min: 0,
          max: 65535,
          env: ['OTEL_EXPORTER_PROMETHEUS_PORT'],
          help: 'Port; 0: any free one, shown in the log.',
        },
      },
    },
    log: {
      type: 'section',
      help: "The agent's own log, on standard error.",
      fields: {
        level: {
          type: 'choice',
          choices: ['error', 'warn', 'info', 'debug'],
          default: 'info',
          env: ['OTEL_LOG_LEVEL'],
          reloads: true,
          help: 'Least severe level that is written.',
        },
        format: {
          type: 'choice',
          choices: ['text', 'json'],
          default: 'text',
          help: 'Lines for people or for machines.',
        },
      },
    },
    limits: {
      type: 'section',
      help: 'Bounds of the pipeline. What exceeds them is dropped and counted.',
      fields: {
        max_exchanges: {
          type: 'integer',
          default: 65536,
          min: 256,
          max: 4194304,
          help: 'Requests that wait for their response at the same time.',
        },
        max_processes: {
          type: 'integer',
          default: 16384,
          min: 64,
          max: 4194304,
          help: 'Processes that are remembered.',
        },
        cpu: {
          type: 'number',
          default: 0.5,
          min: 0,
          max: 1024,
          reloads: true,
          help: 'Cores that the agent may use on average; above it does less, step by step, and says so. 0: no limit.',
        },
        memory_bytes: {
          type: 'integer',
          default: 256 * MIB,
          min: 0,
          max: 1024 * 1024 * MIB,
          reloads: true,
          help: 'Resident memory that the agent may use, likewise. 0: no limit.',
        },
        nice: {
          type: 'integer',
          default: 0,
          min: -20,
          max: 19,
          help: "Priority, as nice(1) has it. Below 0 (needs CAP_SYS_NICE) the thread that empties the rings goes before what it observes, and the rings are emptier where CPUs are scarce; above 0 all of the agent's threads go behind it, and what is observed answers sooner there. How much it uses is limits.cpu's to say.",
        },
        budget_interval_ms: {
          type: 'integer',
          default: 10000,
          min: 200,
          max: 600000,
          help: 'Milliseconds over which its use is averaged, and after which it takes the next step.',
        },
      },
    },
  },
} as const satisfies Section;

/** The loaded configuration: every default filled in, exporters never empty, otlp.traces and otlp.metrics complete. */
export type Config = Resolve<typeof CONFIG_SCHEMA>;
export type Selector = Resolve<typeof SELECTOR>;
export type SelectionConfig = Config['selection'];
export type ServiceNameRule = Resolve<typeof SERVICE_NAME>;
export type RouteRule = Resolve<typeof ROUTES_OF_SERVICE>;
export type ThirdPartyExporter = Resolve<typeof THIRD_PARTY_EXPORTER>;
/** One signal's OTLP settings after loading: what was said for both signals is merged in, the endpoint is final. */
export type OtlpSettings = Config['otlp']['traces'];
export type TracesExporter = Config['traces']['exporters'][number];
export type MetricsExporter = Config['metrics']['exporters'][number];
export type SamplerName = Config['traces']['sampler'];
export type SamplingConfig = Config['traces']['sampling'];
export type LogLevel = Config['log']['level'];
