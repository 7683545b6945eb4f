import type { OwnerReference } from '../../../operator/render/generated-object.ts';
import type { Call } from './calls.ts';
import { isJson, type Stored } from './json.ts';
import { type Route, servedKinds } from './route.ts';

/**
 * Everything that a real API server asks its authorizer about one request, in the words of calls: an apply that makes an object needs `create` too; where OwnerReferencesPermissionEnforcement
 * is on (OpenShift), other owners need `delete` on what they own, and an owner whose deletion is blocked needs `update` on its finalizers.
 */
export function rightsFor(call: Call, { subresource }: Route, before: Stored | null): readonly Call[] {
  const isApply = call.verb === 'patch' && call.contentType.startsWith('application/apply-patch');
  const making: readonly Call[] = isApply && subresource === null && before === null ? [{ ...call, verb: 'create' }] : [];
  return [call, ...making, ...(['create', 'patch', 'update'].includes(call.verb) ? ownerRights(call, before) : [])];
}

function ownerRights(call: Call, before: Stored | null): readonly Call[] {
  const metadata = isJson(call.body) && isJson(call.body['metadata']) ? call.body['metadata'] : {};
  const wanted = (metadata['ownerReferences'] ?? null) as readonly OwnerReference[] | null;
  const had = before?.metadata.ownerReferences ?? [];
  if (wanted === null || JSON.stringify(wanted.map(({ uid }) => uid)) === JSON.stringify(had.map(({ uid }) => uid))) return [];
  const blocking = wanted.filter((owner) => owner.blockOwnerDeletion && !had.some(({ uid }) => uid === owner.uid));
  return [
    ...(before === null ? [] : [{ ...call, verb: 'delete' } as const]),
    ...blocking.flatMap(({ apiVersion, kind, name }): readonly Call[] => servedKinds.filter((served) => served.kind === kind && apiVersion.startsWith(`${served.group}/`))
      .map(({ group, plural }) => ({ ...call, verb: 'update', group, resource: plural, subresource: 'finalizers', name }))),
  ];
}
