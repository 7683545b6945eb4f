import type { LiveProgram, Ran } from '../../e2e/hosts/clients.ts';

/** The two people of the demo: an engineer on call, and a DBA. */
export const people = { alice: ['sre'], bob: ['dba'] } as const;
/** One of them. */
export type Person = keyof typeof people;

/** A cluster that the demo runs on. */
export interface Place extends AsyncDisposable {
  readonly name: string;
  /** Whether it is there after the demo, so that the demo has to clean up. */
  readonly isLasting: boolean;
  /** Sallyport's image. */
  readonly image: { readonly repository: string; readonly tag: string };
  /** Images of the database and of a pod with psql; user id and folder of the data as the database's image wants them. */
  readonly database: { readonly image: string; readonly client: string; readonly uid: number; readonly data: string; readonly args: readonly string[] };
  /** Image of an SSH host, as `e2e/cluster/images` makes it; the client's has ssh then. Null: the demo leaves SSH out. */
  readonly sshImage: string | null;
  /** Runs kubectl, helm or another program where they reach the cluster, as its administrator. */
  run(program: string, args: readonly string[], input?: string): Promise<Ran>;
  /** The same with its input open. */
  live(program: string, args: readonly string[]): LiveProgram;
  /** Path of a kubeconfig with a person's own credentials, and nothing else. */
  kubeconfigOf(person: Person): Promise<string>;
  /** A token of the issuer that the proxies trust: what the person gives psql as the password. */
  tokenOf(person: Person): Promise<string>;
  /** Makes the issuer reachable, and says whose tokens count. @returns YAML of the IdentityProvider. */
  identityProvider(): Promise<string>;
}
