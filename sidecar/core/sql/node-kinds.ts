import type { TreeNode } from './parse-tree.ts';

/** The kind of a field that holds a bare node; an unknown field is an unknown kind. */
export function bareKind(field: string, value: TreeNode): string {
  // A bare `name` is the RangeVar of a PartitionCmd or the ObjectWithArgs of a CreateOpClassItem.
  if (field === 'name') return 'relname' in value ? 'RangeVar' : 'ObjectWithArgs';
  return bareFields[field] ?? `field ${field}`;
}

/** True for a kind that adds nothing of its own: its fields are walked. */
export function isPlainKind(kind: string): boolean {
  return plainKinds.has(kind);
}

/** Fields that hold a bare node of one C type. Every other bare field is an unknown node. */
const bareFields: Readonly<Record<string, string>> = {
  action: 'GrantStmt', alias: 'Alias', arg: 'JsonKeyValue', argType: 'TypeName', authrole: 'RoleSpec', base: 'CreateStmt', bound: 'PartitionBoundSpec', collClause: 'CollateClause',
  constrrel: 'RangeVar', constructor: 'JsonAggConstructor', context_item: 'JsonValueExpr', cycle_clause: 'CTECycleClause', datatype: 'TypeName', expr: 'JsonValueExpr', extname: 'String',
  format: 'JsonFormat', fromsql: 'ObjectWithArgs', func: 'ObjectWithArgs', funccall: 'FuncCall', grantor: 'RoleSpec', identitySequence: 'RangeVar', infer: 'InferClause', into: 'IntoClause',
  intoClause: 'IntoClause', join_using_alias: 'Alias', larg: 'SelectStmt', rarg: 'SelectStmt', newowner: 'RoleSpec', newrole: 'RoleSpec', ofTypename: 'TypeName', on_empty: 'JsonBehavior',
  on_error: 'JsonBehavior', onConflictClause: 'OnConflictClause', opername: 'ObjectWithArgs', output: 'JsonOutput', over: 'WindowDef', owner: 'RoleSpec', partbound: 'PartitionBoundSpec',
  partspec: 'PartitionSpec', pathspec: 'JsonTablePathSpec', pktable: 'RangeVar', pubtable: 'PublicationTable', relation: 'RangeVar', rel: 'RangeVar', returnType: 'TypeName',
  returning: 'JsonReturning', returningClause: 'ReturningClause', role: 'RoleSpec', search_clause: 'CTESearchClause', sequence: 'RangeVar', sourcetype: 'TypeName', storedtype: 'TypeName',
  table: 'RangeVar', targettype: 'TypeName', tosql: 'ObjectWithArgs', typeName: 'TypeName', type_name: 'TypeName', typevar: 'RangeVar', user: 'RoleSpec', val: 'JsonValueExpr',
  value: 'JsonValueExpr', view: 'RangeVar', withClause: 'WithClause',
};

const plainKinds: ReadonlySet<string> = new Set((
  'Integer Float Boolean String BitString List Alias RangeTableFuncCol ParamRef GroupingFunc NamedArgExpr BoolExpr MergeSupportFunc CollateClause CaseWhen A_ArrayExpr RowExpr '
  + 'CoalesceExpr MinMaxExpr SQLValueFunction XmlExpr XmlSerialize JsonFormat JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior NullTest BooleanTest SetToDefault CurrentOfExpr A_Star '
  + 'A_Indices ResTarget MultiAssignRef WindowDef ColumnDef GroupingSet WithClause InferClause IndexElem OnConflictClause CTESearchClause CTECycleClause CommonTableExpr MergeWhenClause '
  + 'ReturningOption ReturningClause JsonOutput JsonArgument JsonFuncExpr JsonTablePathSpec JsonTableColumn JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr '
  + 'JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg JsonArrayAgg RoleSpec LockingClause DefElem '
  // parts of definitions
  + 'CreateStmt TableLikeClause Constraint PartitionElem PartitionSpec PartitionBoundSpec PartitionRangeDatum PartitionCmd AlterTableCmd ATAlterConstraint ReplicaIdentityStmt ObjectWithArgs '
  + 'AccessPriv GrantStmt FunctionParameter TriggerTransition CreateOpClassItem StatsElem VacuumRelation PublicationTable PublicationObjSpec'
).split(' '));
