import type { StatementClass } from '../../../contract/proxy-config.ts';
import { addPair, type Findings, refuse } from './findings.ts';
import { deny } from '../errors.ts';
import { newPlaces, type ObjectName, resolveRelationName } from './names.ts';
import { bodyOf, isTreeNode, itemsOf, listOf, namesOf, stringOf, type TreeNode, textOf, unwrap } from './parse-tree.ts';
import { addRelation } from './walk.ts';

/** Classes of the statements that define, change or maintain; null for a kind that is none of them. */
export function definitionClass(kind: string, body: TreeNode): StatementClass | null {
  const fixed = fixedClasses[kind];
  if (fixed !== undefined) return fixed;
  switch (kind) {
    case 'DropStmt': return classByObject(body['removeType'], 'Drop');
    case 'RenameStmt': return classByObject(body['renameType'], 'Alter');
    case 'AlterObjectSchemaStmt': case 'AlterObjectDependsStmt': case 'AlterOwnerStmt': return classByObject(body['objectType'], 'Alter');
    case 'DefineStmt': return classByObject(body['kind'], 'Create');
    default: return null;
  }
}

/** Adds the objects of a definition that stand in it by name rather than as a relation node. */
export function addNamedObjects(kind: string, body: TreeNode, use: StatementClass, findings: Findings): void {
  switch (kind) {
    case 'DropStmt':
      for (const object of listOf(body['objects'])) addObject(body['removeType'], object, use, findings);
      if (body['behavior'] === 'DROP_CASCADE') addPair(findings, use, '*');
      return;
    case 'CommentStmt': case 'SecLabelStmt':
      return addObject(body['objtype'], body['object'], use, findings);
    case 'RenameStmt': return addObject(body['renameType'], body['object'], use, findings);
    case 'AlterObjectSchemaStmt': case 'AlterOwnerStmt': case 'AlterObjectDependsStmt':
      return addObject(body['objectType'], body['object'], use, findings);
    case 'GrantStmt': return addGrantObjects(body, use, findings);
    case 'TruncateStmt':
      // It also empties every table that refers to these.
      if (body['behavior'] === 'DROP_CASCADE') addPair(findings, use, '*');
      return;
    case 'CreateSchemaStmt': return addPair(findings, use, { schema: textOf(body['schemaname']), name: '*' });
    case 'CreateEnumStmt': case 'CreateRangeStmt': case 'AlterEnumStmt': case 'AlterTypeStmt': case 'AlterDomainStmt':
      return addPlaced(namesOf(body['typeName']), use, findings, kind.startsWith('Create'));
    case 'CreateDomainStmt': return addPlaced(namesOf(body['domainname']), use, findings, true);
    case 'DefineStmt': case 'CreateStatsStmt': return addPlaced(namesOf(body['defnames']), use, findings, true);
    case 'AlterStatsStmt': return addPlaced(namesOf(body['defnames']), use, findings);
    case 'CreateFunctionStmt': return addPlaced(namesOf(body['funcname']), use, findings, true);
    case 'CreateTrigStmt': case 'CreateEventTrigStmt': return addPlaced(namesOf(body['funcname']), use, findings);
    case 'AlterFunctionStmt': return addObject('OBJECT_FUNCTION', { ObjectWithArgs: body['func'] }, use, findings);
    // What they reach is decided by the server.
    case 'DropOwnedStmt': case 'ReassignOwnedStmt': case 'AlterDefaultPrivilegesStmt': case 'AlterTableMoveAllStmt': return addPair(findings, use, '*');
    case 'ReindexStmt':
      if (!isTreeNode(body['relation'])) addSchemaOrAll(body['kind'] === 'REINDEX_OBJECT_SCHEMA' ? textOf(body['name']) : null, use, findings);
      return;
    case 'VacuumStmt':
      if (listOf(body['rels']).length === 0) addPair(findings, use, '*');
      return;
    case 'ClusterStmt':
      if (!isTreeNode(body['relation'])) addPair(findings, use, '*');
      return;
    default:
  }
}

function classByObject(type: unknown, otherwise: StatementClass): StatementClass {
  const object = textOf(type);
  if (/^OBJECT_(FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|OPERATOR|OPCLASS|OPFAMILY|CAST|TRIGGER|EVENT_TRIGGER|RULE|TRANSFORM|LANGUAGE|CONVERSION)$/.test(object)) return 'Function';
  if (object === 'OBJECT_EXTENSION') return 'Extension';
  if (object === 'OBJECT_ROLE') return 'Role';
  if (/^OBJECT_(DATABASE|TABLESPACE|FDW|FOREIGN_SERVER|USER_MAPPING|PUBLICATION\w*|SUBSCRIPTION|ACCESS_METHOD|PARAMETER_ACL)$/.test(object)) return 'System';
  return otherwise;
}

function addObject(type: unknown, object: unknown, use: StatementClass, findings: Findings): void {
  const node = unwrap(object);
  if (node === null) return;
  const kind = textOf(type);
  const names = namesOf(node.kind === 'ObjectWithArgs' ? node.body['objname'] : node.kind === 'TypeName' ? node.body['names'] : object);
  if (/^OBJECT_(TABLE|VIEW|MATVIEW|SEQUENCE|INDEX|FOREIGN_TABLE)$/.test(kind)) return addRelationNames(names, use, findings);
  // The name of a part follows that of its relation.
  if (/^OBJECT_(COLUMN|TABCONSTRAINT|TRIGGER|RULE|POLICY)$/.test(kind)) return addRelationNames(names.slice(0, -1), use, findings);
  if (kind === 'OBJECT_SCHEMA') return addSchemaOrAll(stringOf(object), use, findings, use !== 'Comment');
  if (node.kind === 'String') return;
  addPlaced(names, use, findings);
}

function addRelationNames(names: readonly string[], use: StatementClass, findings: Findings): void {
  const name = names.at(-1);
  if (name === undefined) return;
  addRelation(resolveRelationName(names.at(-2) ?? '', name, findings.scope), use, null, findings);
}

/** A name that is no relation: where it is qualified, there; created, in the first schema of the path; else wherever the catalog has a function or type of the name, or it could be new. */
function addPlaced(names: readonly string[], use: StatementClass, findings: Findings, creates = false): void {
  const name = names.at(-1);
  if (name === undefined) return;
  const schema = names.at(-2);
  if (schema !== undefined) return addPair(findings, use, { schema, name });
  const { catalog, searchPath } = findings.scope;
  if (searchPath === null) return refuse(findings, deny('SEARCH_PATH_UNKNOWN'));
  if (creates) return addPair(findings, use, { schema: newPlaces(findings.scope)[0] ?? '', name });
  const known = [...(catalog.functionsByName.get(name) ?? []).map((found) => found.schema), ...(catalog.userTypes.get(name) ?? [])].filter((place) => searchPath.includes(place));
  for (const place of new Set(known.length > 0 ? known : newPlaces(findings.scope))) addPair(findings, use, { schema: place, name });
}

/** A schema as `schema.*`, with each of its relations where the statement reaches them; null means the whole database. */
function addSchemaOrAll(schema: string | null, use: StatementClass, findings: Findings, withRelations = true): void {
  if (schema === null) return addPair(findings, use, '*');
  addPair(findings, use, { schema, name: '*' });
  if (!withRelations) return;
  let count = 0;
  for (const relation of findings.scope.catalog.relations.values()) {
    if (relation.schema !== schema || 'iI'.includes(relation.kind)) continue;
    count += 1;
    if (count > maxExpanded) return addPair(findings, use, '*');
    addPair(findings, use, { schema, name: relation.name } satisfies ObjectName);
  }
}

/** Beyond this many relations a schema-wide statement counts as opaque. */
const maxExpanded = 500;

function addGrantObjects(grant: TreeNode, use: StatementClass, findings: Findings): void {
  for (const object of listOf(grant['objects'])) {
    if (grant['targtype'] === 'ACL_TARGET_ALL_IN_SCHEMA' || grant['objtype'] === 'OBJECT_SCHEMA') addSchemaOrAll(stringOf(object), use, findings, grant['objtype'] !== 'OBJECT_SCHEMA');
    else if (bodyOf(object, 'ObjectWithArgs') !== null || bodyOf(object, 'List') !== null) addPlaced(namesOf(bodyOf(object, 'ObjectWithArgs')?.['objname'] ?? itemsOf(object)), use, findings);
  }
}

const fixedClasses: Readonly<Record<string, StatementClass>> = {
  CreateStmt: 'Create', CreateSchemaStmt: 'Create', CreateSeqStmt: 'Create', IndexStmt: 'Create', ViewStmt: 'Create', CompositeTypeStmt: 'Create', CreateEnumStmt: 'Create',
  CreateRangeStmt: 'Create', CreateDomainStmt: 'Create', CreateStatsStmt: 'Create', CreatePolicyStmt: 'Create',
  AlterTableStmt: 'Alter', AlterSeqStmt: 'Alter', AlterDomainStmt: 'Alter', AlterEnumStmt: 'Alter', AlterTypeStmt: 'Alter', AlterCollationStmt: 'Alter', AlterStatsStmt: 'Alter',
  AlterPolicyStmt: 'Alter', AlterTSDictionaryStmt: 'Alter', AlterTSConfigurationStmt: 'Alter', ReassignOwnedStmt: 'Alter', DropOwnedStmt: 'Drop', TruncateStmt: 'Truncate',
  CommentStmt: 'Comment', SecLabelStmt: 'Comment',
  CreateFunctionStmt: 'Function', AlterFunctionStmt: 'Function', CreateTrigStmt: 'Function', CreateEventTrigStmt: 'Function', AlterEventTrigStmt: 'Function', RuleStmt: 'Function',
  CreateCastStmt: 'Function', CreateOpClassStmt: 'Function', CreateOpFamilyStmt: 'Function', AlterOpFamilyStmt: 'Function', AlterOperatorStmt: 'Function', CreateTransformStmt: 'Function',
  CreatePLangStmt: 'Function', CreateConversionStmt: 'Function',
  CreateExtensionStmt: 'Extension', AlterExtensionStmt: 'Extension', AlterExtensionContentsStmt: 'Extension',
  GrantStmt: 'Grant', GrantRoleStmt: 'Grant', AlterDefaultPrivilegesStmt: 'Grant',
  CreateRoleStmt: 'Role', AlterRoleStmt: 'Role', AlterRoleSetStmt: 'Role', DropRoleStmt: 'Role',
  VacuumStmt: 'Maintenance', ClusterStmt: 'Maintenance', ReindexStmt: 'Maintenance', RefreshMatViewStmt: 'Maintenance', CheckPointStmt: 'Maintenance',
  LockStmt: 'Lock', NotifyStmt: 'Notify', ListenStmt: 'Notify', UnlistenStmt: 'Notify', LoadStmt: 'ServerFile',
  AlterSystemStmt: 'System', CreatedbStmt: 'System', AlterDatabaseStmt: 'System', AlterDatabaseRefreshCollStmt: 'System', AlterDatabaseSetStmt: 'System', DropdbStmt: 'System',
  CreateTableSpaceStmt: 'System', DropTableSpaceStmt: 'System', AlterTableSpaceOptionsStmt: 'System', AlterTableMoveAllStmt: 'System', CreateFdwStmt: 'System', AlterFdwStmt: 'System',
  CreateForeignServerStmt: 'System', AlterForeignServerStmt: 'System', CreateUserMappingStmt: 'System', AlterUserMappingStmt: 'System', DropUserMappingStmt: 'System',
  ImportForeignSchemaStmt: 'System', CreateForeignTableStmt: 'System', CreateAmStmt: 'System', CreatePublicationStmt: 'System', AlterPublicationStmt: 'System',
  CreateSubscriptionStmt: 'System', AlterSubscriptionStmt: 'System', DropSubscriptionStmt: 'System',
};
