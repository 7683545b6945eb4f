/**
 * The part of a CRD's structural schema that our CRDs use; a CRD that needs more fails in `tools/generate-api.ts`, not in silence here.
 *
 * @see Kubernetes, "Specifying a structural schema"
 */
export interface StructuralSchema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly format?: 'int32' | 'int64' | 'date-time';
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly items?: StructuralSchema;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic';
  readonly 'x-kubernetes-validations'?: readonly ValidationRule[];
}

/** One CEL rule; one that reads `oldSelf` runs only when there is an old value (a transition rule). */
export interface ValidationRule {
  readonly rule: string;
  readonly message: string;
  readonly reason?: string;
}

/** One kind of our API: how it is named and scoped, and what its objects look like. */
export interface ResourceKind {
  readonly plural: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly shortNames: readonly string[];
  readonly schema: StructuralSchema;
}

/** Where a field is: names of properties and indexes of list items. */
export type FieldPath = readonly (string | number)[];

/** Something that the API server would refuse. The message never repeats `path`. */
export interface FieldProblem {
  readonly path: FieldPath;
  readonly message: string;
}
