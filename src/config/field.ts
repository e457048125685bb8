// The words in which the configuration is described: sections of fields, each with its type, default, bounds and help.
// From one such description follow the TypeScript type (Resolve), the checks (check.ts), the defaults, the environment
// variables (env.ts), the JSON schema (json-schema.ts) and the commented file (sample.ts).

interface Described {
  /** One or more sentences for people; `config/underspan.yaml` and the JSON schema show them. */
  readonly help: string;
  /** Standard variables that set this field, strongest first; UNDERSPAN_<PATH> always works and is stronger. */
  readonly env?: readonly string[];
  /** True where SIGHUP applies a new value without a restart. */
  readonly reloads?: boolean;
}

export interface PortRange {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

export interface TextField extends Described {
  readonly type: 'text';
  readonly default?: string;
  /** How the text is read: `regex`, `url` and `redis` are checked when the configuration is loaded. */
  readonly format?: 'glob' | 'regex' | 'url' | 'redis' | 'path';
  readonly isSecret?: boolean;
}
export interface IntegerField extends Described {
  readonly type: 'integer';
  readonly default?: number;
  readonly min: number;
  readonly max: number;
  readonly isPowerOfTwo?: boolean;
}
export interface NumberField extends Described {
  readonly type: 'number';
  readonly default?: number;
  readonly min: number;
  readonly max: number;
}
export interface BooleanField extends Described {
  readonly type: 'boolean';
  readonly default?: boolean;
}
export interface ChoiceField<C extends string = string> extends Described {
  readonly type: 'choice';
  readonly choices: readonly C[];
  readonly default?: C;
}
/** A list of words, of the given choices or (without choices) any. */
export interface WordsField<C extends string = string> extends Described {
  readonly type: 'words';
  readonly choices?: readonly C[];
  readonly default?: readonly C[];
  /** Regular expression that each word matches, and how a message says it. */
  readonly pattern?: string;
  readonly patternHelp?: string;
}
/** `8080`, `'8000-8999'` or a list of these. */
export interface PortsField extends Described {
  readonly type: 'ports';
}
/** Names to texts: headers, resource attributes. */
export interface TextMapField extends Described {
  readonly type: 'textmap';
  readonly default?: Readonly<Record<string, string>>;
  readonly isSecret?: boolean;
}
/** Anything that YAML can say, handed on as it is. */
export interface AnyMapField extends Described {
  readonly type: 'anymap';
  readonly default: Readonly<Record<string, unknown>>;
}
export interface ListField<S extends Section = Section> extends Described {
  readonly type: 'list';
  readonly item: S;
  readonly max: number;
}
export interface Section<F extends Fields = Fields> extends Described {
  readonly type: 'section';
  readonly fields: F;
  /** Fields without which the section makes no sense. */
  readonly required?: readonly string[];
  /** At least one field must be given (an empty selector would select everything by accident). */
  readonly isNeverEmpty?: boolean;
}
export type Leaf =
  | TextField
  | IntegerField
  | NumberField
  | BooleanField
  | ChoiceField
  | WordsField
  | PortsField
  | TextMapField
  | AnyMapField;
export type Field = Leaf | ListField | Section;
export interface Fields {
  readonly [key: string]: Field;
}

/** `max_connections` in files is `maxConnections` in code. */
type Camel<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : K;

type Value<F> = F extends { readonly type: 'text' }
  ? string
  : F extends { readonly type: 'integer' | 'number' }
    ? number
    : F extends { readonly type: 'boolean' }
      ? boolean
      : F extends { readonly type: 'choice'; readonly choices: readonly (infer C)[] }
        ? C
        : F extends { readonly type: 'words'; readonly choices: readonly (infer C)[] }
          ? readonly C[]
          : F extends { readonly type: 'words' }
            ? readonly string[]
            : F extends { readonly type: 'ports' }
              ? readonly PortRange[]
              : F extends { readonly type: 'textmap' }
                ? Readonly<Record<string, string>>
                : F extends { readonly type: 'anymap' }
                  ? Readonly<Record<string, unknown>>
                  : F extends { readonly type: 'list'; readonly item: infer S }
                    ? readonly Resolve<S>[]
                    : Resolve<F>;

/** Always there after loading: fields with a default, sections and lists, and what the section requires. */
type IsPresent<F, K, R> = F extends { readonly default: unknown } | { readonly type: 'section' | 'list' }
  ? true
  : K extends R
    ? true
    : false;

type Shape<F, R> = {
  readonly [K in keyof F & string as IsPresent<F[K], K, R> extends true ? Camel<K> : never]: Value<F[K]>;
} & {
  readonly [K in keyof F & string as IsPresent<F[K], K, R> extends true ? never : Camel<K>]?: Value<F[K]>;
};
type Flat<T> = { readonly [K in keyof T]: T[K] };

/** The TypeScript type of a section's loaded value. */
export type Resolve<S> = S extends { readonly fields: infer F; readonly required: readonly (infer R)[] }
  ? Flat<Shape<F, R>>
  : S extends { readonly fields: infer F }
    ? Flat<Shape<F, never>>
    : never;

export function camelCase(key: string): string {
  return key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
