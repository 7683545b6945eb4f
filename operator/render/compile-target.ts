import type { TargetResource } from '../../contract/api/v1alpha1.gen.ts';
import { listenPortAnnotation } from '../../contract/names.ts';
import type { Target } from '../../contract/proxy-config.ts';
import { compileSshTarget } from './compile-ssh-target.ts';
import { findingsOf, rejectUnreadable } from './problem.ts';
import type { RenderProblem } from './problem.ts';

/** First listener port in directory mode for Targets that do not say theirs. */
export const firstListenPort = 15_432;

/**
 * Compiles the Targets of a namespace, in the order of their names.
 *
 * Ports: from `listenPorts` (the operator's, by Target name), else the annotation `sallyport.dev/listen-port` (0 = any free port), else 15432 plus the Target's place in the
 * order of names, and the next free one where that is taken. So a new Target can move the ports of those behind it that have no annotation.
 */
export function compileTargets(resources: readonly TargetResource[], listenPorts: ReadonlyMap<string, number>): { readonly targets: readonly Target[]; readonly problems: readonly RenderProblem[] } {
  const problems: RenderProblem[] = [];
  const wanted = resources.map((resource) => ({ resource, port: wantedPort(resource, listenPorts) }));
  const taken = new Set(wanted.flatMap(({ port }) => (typeof port === 'number' && port > 0 ? [port] : [])));
  const given = new Set<number>();
  const targets: Target[] = [];
  wanted.forEach(({ resource, port }, index) => {
    const findings = findingsOf('Target', resource.metadata.name);
    const listenPort = typeof port === 'number' ? port : nextFree(firstListenPort + index, taken);
    if (port === 'invalid') findings.reject(['metadata', 'annotations', listenPortAnnotation], 'Invalid', 'a port is a number from 0 to 65535');
    if (listenPort > 0 && given.has(listenPort)) findings.reject(['metadata', 'annotations', listenPortAnnotation], 'Invalid', `another Target listens on port ${listenPort}`);
    const target = compileTarget(resource, listenPort, findings);
    rejectUnreadable('targets', target, findings);
    problems.push(...findings.problems);
    if (findings.isRejected()) return;
    given.add(listenPort);
    targets.push(target);
  });
  return { targets, problems };
}

function wantedPort(resource: TargetResource, listenPorts: ReadonlyMap<string, number>): number | 'any' | 'invalid' {
  const assigned = listenPorts.get(resource.metadata.name);
  if (assigned !== undefined) return assigned;
  const text = resource.metadata.annotations?.[listenPortAnnotation];
  if (text === undefined) return 'any';
  return /^[0-9]{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : 'invalid';
}

function nextFree(from: number, taken: Set<number>): number {
  let port = from;
  while (taken.has(port)) port += 1;
  taken.add(port);
  return port;
}

function compileTarget({ metadata, spec }: TargetResource, listenPort: number, findings: ReturnType<typeof findingsOf>): Target {
  const identity = { name: metadata.name, uid: metadata.uid ?? '', generation: metadata.generation ?? 0, labels: { ...metadata.labels }, listenPort };
  if (spec.ssh !== undefined) return { ...identity, ssh: compileSshTarget(spec.ssh, ['spec', 'ssh'], findings) };
  // The schema: exactly one of the two, so what is empty here is refused below.
  const postgres = spec.postgres ?? { host: '', port: 0, tls: { mode: 'VerifyFull', channelBinding: 'Prefer' }, credentials: { secretRef: { name: '' } } };
  if (postgres.databases === undefined || postgres.databases.length === 0) {
    findings.reject(['spec', 'postgres', 'databases'], 'Invalid', 'name at least one database: a session may open only those that are listed');
  }
  return {
    ...identity,
    postgres: {
      host: postgres.host,
      port: postgres.port,
      tls: {
        mode: postgres.tls.mode,
        serverName: postgres.tls.serverName ?? null,
        channelBinding: postgres.tls.channelBinding,
        caSecret: postgres.tls.caSecretRef === undefined ? null : { ...postgres.tls.caSecretRef },
      },
      credentialsSecret: postgres.credentials.secretRef.name,
      databases: [...(postgres.databases ?? [])].sort(),
    },
  };
}
