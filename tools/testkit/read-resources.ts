import { parseAllDocuments } from 'yaml';
import { formatFieldProblem, readResource } from '../../contract/api/read-resource.ts';
import type { SallyportResource } from '../../contract/api/v1alpha1.gen.ts';
import type { RenderInput } from '../../operator/render/proxy-config.ts';

/** Reads the resources of a test case; every one must be valid. */
export function readResources(yaml: string): readonly SallyportResource[] {
  return parseAllDocuments(yaml).map((document) => {
    const read = readResource('toJS' in document ? document.toJS() : null);
    if (read.outcome === 'problems') throw new Error(read.problems.map(formatFieldProblem).join('\n'));
    return read.resource;
  });
}

/** The compile step's input for the namespace `payments`. */
export function renderInput(resources: readonly SallyportResource[]): RenderInput {
  return {
    namespace: 'payments',
    targets: resources.filter((each) => each.kind === 'Target'),
    policies: resources.filter((each) => each.kind === 'AccessPolicy'),
    identityProviders: resources.filter((each) => each.kind === 'IdentityProvider'),
  };
}
