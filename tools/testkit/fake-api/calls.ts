/** One request as the API server saw it, in the words of RBAC. */
export interface Call {
  readonly user: string;
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';
  readonly group: string;
  readonly resource: string;
  readonly namespace: string | null;
  readonly name: string | null;
  readonly subresource: string | null;
  readonly query: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly body: unknown;
  /** Asked for metadata alone. */
  readonly metadataOnly: boolean;
  /** Where it came from, `METHOD path`. */
  readonly line: string;
  /** HTTP status, 0 while or when there was none. */
  status: number;
}

/** Whether a call changes something; a dry run does not. */
export function isWrite(call: Call): boolean {
  return !['get', 'list', 'watch'].includes(call.verb) && call.query['dryRun'] !== 'All';
}
