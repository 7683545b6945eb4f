import { renderProxyConfig } from '../operator/render/proxy-config.ts';
import type { RenderOutcome } from '../operator/render/proxy-config.ts';
import type { RenderProblem } from '../operator/render/problem.ts';
import type { SallyportResource } from '../contract/api/v1alpha1.gen.ts';
import type { FieldPath } from '../contract/api/structural-schema.ts';
import type { PostgresTarget, ProxyConfig, SshTarget } from '../contract/proxy-config.ts';
import { hasSshCredential } from '../sidecar/adapters/ssh-credential-form.ts';
import { carryOver } from './carry-over.ts';
import type { CarriedOver, InForce } from './carry-over.ts';
import type { FileProblem } from './file-problem.ts';
import { assignGenerations } from './generations.ts';
import type { Generations } from './generations.ts';
import { loadDirectory, toFileProblem } from './load-directory.ts';
import type { LoadedResource, LoadedSecret } from './load-directory.ts';

export interface CompileOptions {
  readonly dir: string;
  /** Null: the only namespace present; then fixed for as long as the compiler lives. */
  readonly namespace: string | null;
  readonly generations: GenerationStore;
}

/** Where generations are kept between runs; `write` returns only when they are safe. */
export interface GenerationStore {
  read(): Promise<Generations>;
  write(next: Generations): Promise<void>;
}

/** Values by Secret name, then key. */
export type SecretValues = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;

/**
 * `config`: to be put in force; `problems` may hold rejected ones, whose objects keep their last good version or are left out safely.
 * `problems`: nothing can be put in force; keep the last good config.
 */
export type CompileOutcome =
  | { readonly outcome: 'config'; readonly config: ProxyConfig; readonly secrets: SecretValues; readonly problems: readonly FileProblem[] }
  | { readonly outcome: 'problems'; readonly problems: readonly FileProblem[] };

/**
 * Compiles a config directory, again and again: the load function of directory mode (`serve`) and of `config check`.
 *
 * The first load is strict: any rejected problem gives no config. Later ones keep what is broken at its last good version and apply the rest (`carry-over.ts`);
 * an object whose new version is valid YAML but cannot be enforced keeps its last good version too. Loads must not overlap.
 */
export function createDirectoryCompiler(options: CompileOptions): { load(): Promise<CompileOutcome> } {
  let inForce: InForce | null = null;
  let namespace = options.namespace;
  return {
    async load(): Promise<CompileOutcome> {
      const loaded = await loadDirectory(options.dir);
      if (loaded.unreadable) return { outcome: 'problems', problems: loaded.problems };
      const chosen = chooseNamespace(loaded.resources, namespace);
      if (chosen.outcome === 'problems') return { outcome: 'problems', problems: [...loaded.problems, ...chosen.problems] };

      const candidate = carryOver(inForce, loaded);
      const previous = await options.generations.read();
      const compiled = compile(candidate, inForce, previous, chosen.namespace);
      const problems = sorted([...loaded.problems, ...chosen.warnings, ...compiled.problems]);
      const rejected = problems.some((problem) => problem.severity === 'rejected');
      if ((rejected && inForce === null) || compiled.tooLarge) return { outcome: 'problems', problems };

      // Before the config is in force: a generation that was seen and then forgotten could be given to other rules.
      await options.generations.write(compiled.next);
      namespace = chosen.namespace;
      inForce = { resources: compiled.resources, secrets: candidate.secrets, config: compiled.config, withheld: candidate.withheld };
      return { outcome: 'config', config: compiled.config, secrets: secretsOf(candidate.secrets, chosen.namespace), problems };
    },
  };
}

type Chosen = { readonly outcome: 'chosen'; readonly namespace: string; readonly warnings: readonly FileProblem[] } | { readonly outcome: 'problems'; readonly problems: readonly FileProblem[] };

function chooseNamespace(resources: readonly LoadedResource[], wanted: string | null): Chosen {
  const byNamespace = Map.groupBy(resources.filter(({ resource }) => resource.kind !== 'IdentityProvider'), ({ resource }) => resource.metadata.namespace ?? 'default');
  const names = [...byNamespace.keys()].sort();
  const at = ({ file, locate }: LoadedResource, severity: FileProblem['severity'], message: string): FileProblem => toFileProblem({ path: ['metadata', 'namespace'], message, severity }, file, locate);
  if (wanted !== null) {
    const others = names.filter((name) => name !== wanted);
    return { outcome: 'chosen', namespace: wanted, warnings: others.flatMap((name) => (byNamespace.get(name) ?? []).map((each) => at(each, 'warning', `not of the namespace ${wanted}, so it has no effect here`))) };
  }
  if (names.length <= 1) return { outcome: 'chosen', namespace: names[0] ?? 'default', warnings: [] };
  const second = byNamespace.get(names[1] ?? '')?.[0];
  return { outcome: 'problems', problems: second === undefined ? [] : [at(second, 'rejected', `one gateway serves one namespace and there are ${names.join(', ')}: choose with --namespace`)] };
}

interface Compiled {
  readonly config: ProxyConfig;
  readonly next: Generations;
  readonly problems: readonly FileProblem[];
  /** What the config stands for, by key. */
  readonly resources: ReadonlyMap<string, LoadedResource>;
  readonly tooLarge: boolean;
}

/** Renders; then once more with the last good version of what was rejected, where there is one. */
function compile(candidate: CarriedOver, inForce: InForce | null, previous: Generations, namespace: string): Compiled {
  const withheld = new Set([...candidate.withheld.values()].flat());
  const first = render(candidate.resources, previous, namespace, withheld);
  const resources = new Map(candidate.resources);
  for (const problem of first.problems) {
    const key = problem.severity === 'rejected' ? keyOf(problem, namespace) : '';
    const old = inForce?.resources.get(key);
    if (old !== undefined) resources.set(key, old);
  }
  const second = render(resources, previous, namespace, withheld);
  return {
    config: second.config,
    next: second.next,
    problems: [...first.problems.map((problem) => inFile(withConsequence(problem, inForce?.resources.has(keyOf(problem, namespace)) === true), candidate.resources, namespace)), ...missingSecrets(second.config, candidate.secrets, resources)],
    resources,
    tooLarge: second.problems.some((problem) => problem.reason === 'ConfigTooLarge'),
  };
}

function render(resources: ReadonlyMap<string, LoadedResource>, previous: Generations, namespace: string, withheld: ReadonlySet<string>): RenderOutcome & { readonly next: Generations } {
  const ours = [...resources.values()].map((each) => each.resource).filter((each) => each.kind === 'IdentityProvider' || each.metadata.namespace === namespace);
  const numbered = assignGenerations(previous, ours);
  const of = <K extends SallyportResource['kind']>(kind: K): readonly Extract<SallyportResource, { kind: K }>[] => numbered.resources.filter((each): each is Extract<SallyportResource, { kind: K }> => each.kind === kind);
  const outcome = renderProxyConfig({
    namespace, targets: of('Target'), policies: of('AccessPolicy'), identityProviders: of('IdentityProvider'), withheld,
  });
  return { ...outcome, next: numbered.next };
}

function keyOf(problem: RenderProblem, namespace: string): string {
  return `${problem.kind}/${problem.kind === 'IdentityProvider' ? '' : namespace}/${problem.name}`;
}

function withConsequence(problem: RenderProblem, hasLastGood: boolean): RenderProblem {
  if (problem.severity !== 'rejected') return problem;
  const { withholds = [] } = problem;
  const more = withholds.length > 10 ? ` and ${withholds.length - 10} more` : '';
  if (hasLastGood) return { ...problem, message: `${problem.message} (its last good version stays in force)` };
  return withholds.length === 0 ? problem : { ...problem, message: `${problem.message} (until this is repaired, these Targets are not served: ${withholds.slice(0, 10).join(', ')}${more})` };
}

function inFile(problem: RenderProblem, resources: ReadonlyMap<string, LoadedResource>, namespace: string): FileProblem {
  const source = resources.get(keyOf(problem, namespace));
  if (source !== undefined) return toFileProblem(problem, source.file, source.locate);
  return { severity: problem.severity, file: '', line: 1, column: 1, field: '', message: `${problem.kind} ${problem.name}: ${problem.message}` };
}

/** Only a warning: in a pipeline that checks the directory the Secrets are elsewhere. A session on such a Target is refused with SECRET_UNAVAILABLE. */
function missingSecrets(config: ProxyConfig, secrets: readonly LoadedSecret[], resources: ReadonlyMap<string, LoadedResource>): readonly FileProblem[] {
  const values = secretsOf(secrets, config.namespace);
  return config.targets.flatMap((target) => {
    const source = resources.get(`Target/${config.namespace}/${target.name}`);
    const messages = 'ssh' in target ? sshSecretProblems(target, values) : postgresSecretProblems(target, values);
    const once = messages.filter((each, index) => messages.findIndex(({ message }) => message === each.message) === index);
    return source === undefined ? [] : once.map((each) => toFileProblem({ ...each, severity: 'warning' }, source.file, source.locate));
  });
}

interface SecretProblem {
  readonly path: FieldPath;
  readonly message: string;
}

function postgresSecretProblems({ postgres: { credentialsSecret, tls } }: PostgresTarget, values: SecretValues): readonly SecretProblem[] {
  const needed = [
    ...['username', 'password'].map((key) => ({ name: credentialsSecret, key, path: ['spec', 'postgres', 'credentials', 'secretRef', 'name'] })),
    ...(tls.caSecret === null ? [] : [{ ...tls.caSecret, path: ['spec', 'postgres', 'tls', 'caSecretRef', 'name'] }]),
  ];
  const missing = needed.filter(({ name, key }) => values.get(name)?.has(key) !== true);
  return missing.map(({ name, key, path }) => ({ path, message: values.has(name) ? `the Secret ${name} has no key ${key}` : `there is no Secret ${name} in this directory` }));
}

function sshSecretProblems({ ssh: { credentialsSecret, accountCredentials } }: SshTarget, values: SecretValues): readonly SecretProblem[] {
  const needed = [
    { name: credentialsSecret, path: ['spec', 'ssh', 'credentials', 'secretRef', 'name'] },
    ...Object.values(accountCredentials).map((name) => ({ name, path: ['spec', 'ssh', 'accountCredentials'] })),
  ];
  return needed.flatMap(({ name, path }) => {
    const secret = values.get(name);
    if (secret === undefined) return [{ path, message: `there is no Secret ${name} in this directory` }];
    return hasSshCredential(secret) ? [] : [{ path, message: `the Secret ${name} holds no SSH credential: it needs exactly one of privateKey (with passphrase or certificate) and password` }];
  });
}

function secretsOf(secrets: readonly LoadedSecret[], namespace: string): SecretValues {
  return new Map(secrets.filter((each) => each.namespace === namespace).map((each) => [each.name, each.values]));
}

function sorted(problems: readonly FileProblem[]): readonly FileProblem[] {
  return [...problems].sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column));
}
