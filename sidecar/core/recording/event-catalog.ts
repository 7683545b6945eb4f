import type { EventCode } from '../../../contract/audit.ts';

/** How an event stands in OCSF 1.8.0. */
export interface CatalogRow {
  readonly category: number;
  readonly class: number;
  /** Null: taken from the statement's kind. */
  readonly activity: number | null;
  readonly activityName: string | null;
  /** 1 informational, 2 low, 3 medium, 4 high, 5 critical. */
  readonly severity: number;
  /** Belongs to a session's chain. */
  readonly chained: boolean;
}

const datastore = { category: 6, class: 6005, chained: true } as const;
const statement = { ...datastore, activity: null, activityName: null } as const;
const entity = { category: 3, class: 3004, severity: 1, chained: false } as const;
const process = { category: 1, class: 1007, chained: true } as const;
const network = { category: 4, class: 4007, chained: true } as const;
const file = { category: 1, class: 1001, activity: null, activityName: null, chained: true } as const;
const lifecycle = { category: 6, class: 6002, severity: 1, chained: false } as const;

/** Every event that the proxy writes. A code outside this table does not compile, because the key type is the closed list of the contract. */
export const eventCatalog: Readonly<Record<EventCode, CatalogRow>> = {
  'auth.failed': { category: 3, class: 3002, activity: 1, activityName: 'Logon', severity: 2, chained: false },
  'session.start': { ...datastore, activity: 3, activityName: 'Connect', severity: 1 },
  'session.end': { category: 3, class: 3002, activity: 2, activityName: 'Logoff', severity: 1, chained: true },
  'session.terminated': { ...entity, activity: 9, activityName: 'Disable', severity: 3 },
  'statement.intent': { ...statement, severity: 1 },
  'statement.result': { ...statement, severity: 1 },
  'statement.denied': { ...statement, severity: 3 },
  'statement.held': { ...statement, severity: 2 },
  'statement.cancelled': { ...statement, severity: 1 },
  'request.created': { ...entity, activity: 1, activityName: 'Create' },
  'request.decided': { ...entity, activity: 3, activityName: 'Update' },
  'request.expired': { ...entity, activity: 9, activityName: 'Disable' },
  'request.withdrawn': { ...entity, activity: 9, activityName: 'Disable' },
  'policy.changed': { ...entity, activity: 3, activityName: 'Update', severity: 2 },
  'log.opened': { ...lifecycle, activity: 3, activityName: 'Start' },
  'log.closed': { ...lifecycle, activity: 4, activityName: 'Stop' },
  'log.recovered': { ...lifecycle, activity: 99, activityName: 'Recover', severity: 3 },
  heartbeat: { ...lifecycle, activity: 99, activityName: 'Heartbeat' },
  'audit.failed': { ...lifecycle, activity: 99, activityName: 'Audit Failed', severity: 5 },
  'audit.restored': { ...lifecycle, activity: 99, activityName: 'Audit Restored', severity: 3 },
  'credential.minted': { category: 3, class: 3002, activity: 99, activityName: 'Credential Minted', severity: 1, chained: false },
  'exec.intent': { ...process, activity: 1, activityName: 'Launch', severity: 1 },
  'exec.result': { ...process, activity: 2, activityName: 'Terminate', severity: 1 },
  'exec.denied': { ...process, activity: 1, activityName: 'Launch', severity: 3 },
  'exec.held': { ...process, activity: 1, activityName: 'Launch', severity: 2 },
  'exec.cancelled': { ...process, activity: 1, activityName: 'Launch', severity: 1 },
  'shell.start': { ...process, activity: 1, activityName: 'Launch', severity: 2 },
  'shell.end': { ...process, activity: 2, activityName: 'Terminate', severity: 1 },
  'command.observed': { ...process, activity: 99, activityName: 'Observed', severity: 1 },
  'file.intent': { ...file, severity: 1 },
  'file.result': { ...file, severity: 1 },
  'file.denied': { ...file, severity: 3 },
  'forward.open': { ...network, activity: 1, activityName: 'Open', severity: 2 },
  'forward.closed': { ...network, activity: 2, activityName: 'Close', severity: 1 },
  'forward.refused': { ...network, activity: 5, activityName: 'Refuse', severity: 3 },
  'recording.sealed': { ...file, activity: 1, activityName: 'Create', severity: 1 },
  'channel.refused': { ...network, activity: 5, activityName: 'Refuse', severity: 2 },
  'evidence.exported': { category: 6, class: 6003, activity: 1, activityName: 'Create', severity: 2, chained: false },
};

/** `session.start` of an SSH session: SSH Activity, Open. */
export const sshSessionStart: CatalogRow = { ...network, activity: 1, activityName: 'Open', severity: 1 };

/** The OCSF 1001 activity of a file operation (`Read`, `Write`, `Remove`, `Rename`, …); 99 for one that OCSF has no word for. */
export function fileActivity(operation: string): { readonly id: number; readonly name: string } {
  return fileActivities.get(operation.toLowerCase()) ?? other;
}

/** The OCSF 6005 activity of a statement class; 99 for a class that stores or reads nothing. */
export function statementActivity(kind: string): { readonly id: number; readonly name: string } {
  return activities[kind] ?? other;
}

const other = { id: 99, name: 'Other' } as const;
const removal = { id: 4, name: 'Delete' } as const;
const creation = { id: 1, name: 'Create' } as const;
const attributes = { id: 6, name: 'Set Attributes' } as const;
const opening = { id: 14, name: 'Open' } as const;
const fileActivities: ReadonlyMap<string, { readonly id: number; readonly name: string }> = new Map([
  ['read', { id: 2, name: 'Read' }], ['write', { id: 3, name: 'Update' }], ['rename', { id: 5, name: 'Rename' }],
  ['create', creation], ['mkdir', creation], ['symlink', creation], ['link', creation],
  ['remove', removal], ['delete', removal], ['rmdir', removal],
  ['setstat', attributes], ['fsetstat', attributes], ['lsetstat', attributes], ['attributes', attributes],
  ['stat', { id: 8, name: 'Get Attributes' }], ['list', opening], ['open', opening],
]);
const query = { id: 4, name: 'Query' } as const;
const update = { id: 2, name: 'Update' } as const;
const write = { id: 5, name: 'Write' } as const;
const remove = { id: 7, name: 'Delete' } as const;
const activities: Readonly<Record<string, { readonly id: number; readonly name: string } | undefined>> = {
  Select: query, Explain: query,
  CopyOut: { id: 1, name: 'Read' },
  Insert: write, CopyIn: write,
  Update: update, Merge: update, Alter: update,
  Delete: remove, Truncate: remove, Drop: remove,
  Create: { id: 6, name: 'Create' },
};
