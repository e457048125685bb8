// The identity of an observed service instance: one OTLP resource. Built once per process by enrichment/process.ts and
// referred to by spans and metrics through its small integer id.

export type AttributeValue = string | number | boolean | readonly string[];
/** Ordered key-value pairs with semantic-convention names. Integers are JavaScript integers; doubles need a fraction. */
export type Attributes = readonly (readonly [key: string, value: AttributeValue])[];

export interface Service {
  /** Small integer, unique in this agent's life; index for per-service tables. */
  readonly id: number;
  /** `service.name`. */
  readonly name: string;
  /** `service.namespace`, '' if none. */
  readonly namespace: string;
  /** `service.instance.id`. */
  readonly instanceId: string;
  /** All resource attributes, `service.*` included. */
  readonly attributes: Attributes;
}
