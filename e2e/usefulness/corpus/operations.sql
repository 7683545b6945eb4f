-- What administrators, migration tools and drivers send. Migrations run in a transaction that is rolled back.

-- name: sizes of tables
select n.nspname, c.relname, pg_relation_size(c.oid) >= 0 as sized from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('bank', 'hr') and c.relkind = 'r' order by 1, 2;
-- name: size of the database
select pg_size_pretty(pg_database_size(current_database())) is not null as size;
-- name: rows by estimate
select relname, reltuples >= -1 as estimated from pg_class where relnamespace = 'bank'::regnamespace and relkind in ('r', 'p') order by 1;
-- name: tables in the information schema
select table_schema, table_name, table_type from information_schema.tables where table_schema in ('public', 'bank', 'hr') order by 1, 2;
-- name: columns in the information schema
select column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision from information_schema.columns where table_schema = 'bank' and table_name = 'clients' order by ordinal_position;
-- name: constraints in the information schema
select tc.constraint_name, tc.constraint_type, kcu.column_name from information_schema.table_constraints tc join information_schema.key_column_usage kcu using (constraint_schema, constraint_name) where tc.table_schema = 'bank' and tc.constraint_type <> 'CHECK' order by 1, 3;
-- name: foreign keys
select conname, conrelid::regclass::text as child, confrelid::regclass::text as parent, pg_get_constraintdef(oid) as definition from pg_constraint where contype = 'f' and connamespace = 'bank'::regnamespace order by 1;
-- name: indexes
select schemaname, tablename, indexname, indexdef from pg_indexes where schemaname in ('bank', 'hr') order by 1, 2, 3;
-- name: index columns
select i.indexrelid::regclass::text as index, a.attname, i.indisunique, i.indisprimary from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = 'bank.clients'::regclass order by 1, 2;
-- name: primary key columns as drivers ask
select a.attname, format_type(a.atttypid, a.atttypmod) as data_type from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = 'bank.accounts'::regclass and i.indisprimary;
-- name: views and their definitions
select viewname, definition from pg_views where schemaname = 'bank' order by 1;
-- name: functions
select p.proname, pg_get_function_identity_arguments(p.oid) as arguments, l.lanname from pg_proc p join pg_language l on l.oid = p.prolang where p.pronamespace = 'bank'::regnamespace order by 1;
-- name: definition of a function
select pg_get_functiondef('bank.full_years(date, date)'::regprocedure);
-- name: triggers
select tgname, tgrelid::regclass::text as relation, pg_get_triggerdef(oid) as definition from pg_trigger where not tgisinternal order by 1;
-- name: sequences
select sequence_schema, sequence_name, data_type from information_schema.sequences where sequence_schema = 'bank' order by 2;
-- name: enum labels
select t.typname, e.enumlabel from pg_type t join pg_enum e on e.enumtypid = t.oid where t.typnamespace = 'bank'::regnamespace order by t.typname, e.enumsortorder;
-- name: types as node-postgres, npgsql and others load them
select t.oid::int8 > 0 as has_oid, t.typname, t.typtype, t.typelem = 0 as scalar, n.nspname from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname = 'bank' and t.typtype in ('c', 'd', 'e') order by t.typname;
-- name: hstore oids as psycopg asks
select t.oid, typarray from pg_type t join pg_namespace ns on typnamespace = ns.oid where typname = 'hstore';
-- name: extensions
select extname, extversion from pg_extension order by 1;
-- name: roles
select rolname, rolsuper, rolcanlogin from pg_roles where rolname !~ '^pg_' order by 1;
-- name: grants on tables
select grantee, privilege_type from information_schema.role_table_grants where table_schema = 'bank' and table_name = 'branches' order by 1, 2;
-- name: privileges of mine
select has_table_privilege('bank.branches', 'select') as s, has_schema_privilege('bank', 'usage') as u, has_database_privilege(current_database(), 'connect') as c;
-- name: settings
select name, setting, unit, context from pg_settings where name in ('max_connections', 'shared_buffers', 'work_mem', 'port', 'TimeZone') and name <> 'port' order by 1;
-- name: comments
select obj_description('bank.clients'::regclass), col_description('bank.clients'::regclass, 1);
-- name: partitions
select inhrelid::regclass::text as partition, pg_get_expr(c.relpartbound, c.oid) as bound from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'bank.transfers'::regclass order by 1;
-- name: column defaults
select a.attname, pg_get_expr(d.adbin, d.adrelid) as value from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum where d.adrelid = 'bank.clients'::regclass order by 1;
-- name: databases
select datname, pg_encoding_to_char(encoding), datcollate from pg_database where datallowconn order by 1;
-- name: schemas
select nspname from pg_namespace where nspname !~ '^pg_' order by 1;
-- name: table statistics without values
select relname, seq_scan >= 0 as scanned, n_live_tup >= 0 as live from pg_stat_user_tables where schemaname = 'bank' order by 1;
-- name: index statistics
select indexrelname, idx_scan >= 0 as used from pg_stat_user_indexes where schemaname = 'bank' order by 1;
-- name: database statistics
select datname = current_database() as mine, xact_commit >= 0 as commits from pg_stat_database where datname = current_database();
-- name: replication state
select pg_is_in_recovery(), pg_current_wal_lsn() is not null as lsn;
-- name: is it alive
select 1;
-- name: pool checks
select 1 as ping; select true; select version() is not null;
-- name: empty query
;
-- name: table exists as migration tools ask
select exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relname = 'schema_migrations' and c.relkind = 'r');
-- name: regclass or null
select to_regclass('bank.clients') is not null as there, to_regclass('bank.nothing') is null as missing;
-- name: advisory lock of a migration
select pg_try_advisory_xact_lock(4711, 42);
-- name: create a migrations table
-- write
create table if not exists public.schema_migrations (version varchar(255) primary key, applied_at timestamptz not null default now()); insert into public.schema_migrations (version) values ('20240101') on conflict do nothing; select version from public.schema_migrations;
-- name: create table
-- write
create table bank.notes (id bigint generated always as identity primary key, client_id int references bank.clients(id) on delete cascade, body text not null check (length(body) < 2000), created_at timestamptz default now()); create index on bank.notes (client_id, created_at desc); insert into bank.notes (client_id, body) values (1, 'hello') returning id, body;
-- name: add a column
-- write
alter table bank.branches add column phone_prefix text default '030'; select id, phone_prefix from bank.branches order by id limit 2;
-- name: add a column to a masked table
-- write
alter table bank.clients add column nickname text; select id, nickname from bank.clients order by id limit 2;
-- name: rename a column
-- write
alter table bank.branches rename column city to town; select id, town from bank.branches order by id limit 2;
-- name: change a type
-- write
alter table bank.audit alter column action type varchar(200); select action from bank.audit order by id limit 1;
-- name: not null and defaults
-- write
alter table bank.audit alter column details set default '{}'::jsonb, alter column details set not null;
-- name: drop a column
-- write
alter table bank.branches drop column opened; select * from bank.branches order by id limit 1;
-- name: add and drop a constraint
-- write
alter table bank.accounts add constraint positive check (balance > -100000) not valid; alter table bank.accounts validate constraint positive; alter table bank.accounts drop constraint positive;
-- name: create a unique index on a clear column
-- write
create unique index branches_name on bank.branches (lower(name));
-- name: partial index on a masked table
-- write
create index active_clients on bank.clients (branch_id) where status = 'active';
-- name: expression index
-- write
create index on bank.clients ((preferences ->> 'language'));
-- name: drop an index
-- write
drop index bank.clients_name;
-- name: create a view of clear columns
-- write
create or replace view bank.active_clients as select id, full_name from bank.clients where status = 'active'; select count(*) from bank.active_clients;
-- name: replace a view
-- write
create or replace view bank.client_list as select id, full_name, status, branch_id, created_at, tags from bank.clients; select id, tags from bank.client_list order by id limit 1;
-- name: enum value
-- write
create type bank.colour as enum ('red', 'green'); alter type bank.colour rename value 'red' to 'crimson'; select 'crimson'::bank.colour as c;
-- name: create and use a sequence
-- write
create sequence bank.s2 start 5; select nextval('bank.s2');
-- name: create a schema
-- write
create schema reporting; create table reporting.daily (day date primary key, total numeric); insert into reporting.daily select date '2024-01-01', sum(balance) from bank.accounts returning day, total;
-- name: create table as a clear aggregate
-- write
create table hr.headcount as select department_id, count(*) as n from hr.employees group by department_id; select * from hr.headcount order by 1;
-- name: create table like
-- write
create table bank.branches_old (like bank.branches including all); insert into bank.branches_old select * from bank.branches; select count(*) from bank.branches_old;
-- name: a new partition
-- write
create table bank.transfers_2026 partition of bank.transfers for values from ('2026-01-01') to ('2027-01-01'); insert into bank.transfers (account_id, amount, booked) values (1, 5, '2026-02-02') returning amount;
-- name: detach a partition
-- write
alter table bank.transfers detach partition bank.transfers_2024; select count(*) from bank.transfers;
-- name: truncate
-- write
truncate bank.settings; select count(*) from bank.settings;
-- name: comment on
-- write
comment on column bank.branches.city is 'where it is'; select col_description('bank.branches'::regclass, 3);
-- name: grant and revoke
-- write
grant select on bank.branches to public; revoke select on bank.branches from public;
-- name: analyze one table
analyze bank.branches;
-- name: refresh a materialized view
-- write
refresh materialized view bank.branch_totals; select count(*) from bank.branch_totals;
-- name: set constraints
set constraints all deferred;
-- name: drop what depends
-- write
drop view bank.client_list cascade;
-- name: rename a table
-- write
alter table bank.settings rename to options; select key from bank.options order by key;
-- name: move to another schema
-- write
alter table bank.settings set schema public; select key from public.settings order by key;
-- name: reset and discard
reset all;
-- name: isolation level
set transaction isolation level repeatable read;
-- name: read only
set transaction read only; select count(*) from bank.branches;
-- name: alembic version
-- write
create table public.alembic_version (version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num)); insert into alembic_version (version_num) values ('1975ea83b712'); update alembic_version set version_num = 'ae1027a6acf' where alembic_version.version_num = '1975ea83b712'; select version_num from alembic_version;
-- name: flyway history
-- write
create table "public"."flyway_schema_history" ("installed_rank" int not null, "version" varchar(50), "description" varchar(200) not null, "success" boolean not null); alter table "public"."flyway_schema_history" add constraint "flyway_schema_history_pk" primary key ("installed_rank"); select count(*) from "public"."flyway_schema_history" where "success" = false;
-- name: grafana time series
select $$time$$ as t, extract(epoch from date_trunc('day', booked)) as time, sum(amount) as value, 'transfers' as metric from bank.transfers where booked between '2024-01-01' and '2024-02-01' group by 2 order by 2;
-- name: metabase sample of a clear table
select "bank"."branches"."id" as "id", "bank"."branches"."name" as "name", "bank"."branches"."city" as "city" from "bank"."branches" limit 2000;
-- name: metabase sample of a masked table
-- masks: email, phone, ssn, birth_date
select "bank"."clients"."id" as "id", "bank"."clients"."full_name" as "full_name", "bank"."clients"."email" as "email", "bank"."clients"."phone" as "phone", "bank"."clients"."ssn" as "ssn", "bank"."clients"."birth_date" as "birth_date" from "bank"."clients" order by 1 limit 10;
-- name: superset count of a subquery
select count(*) from (select branch_id, status, count(*) from bank.clients group by 1, 2) as virtual_table;
-- name: dbeaver key columns
select c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value, dsc.description from pg_catalog.pg_attribute a inner join pg_catalog.pg_class c on (a.attrelid = c.oid) left outer join pg_catalog.pg_attrdef ad on (a.attrelid = ad.adrelid and a.attnum = ad.adnum) left outer join pg_catalog.pg_description dsc on (c.oid = dsc.objoid and a.attnum = dsc.objsubid) where not a.attisdropped and c.oid = 'bank.branches'::regclass and a.attnum > 0 order by a.attnum;
-- name: jdbc getColumns
select * from (select n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull or (t.typtype = 'd' and t.typnotnull) as attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() over (partition by a.attrelid order by a.attnum) as attnum, nullif(a.attidentity, '') as attidentity, nullif(a.attgenerated, '') as attgenerated, pg_catalog.pg_get_expr(def.adbin, def.adrelid) as adsrc, dsc.description, t.typbasetype, t.typtype from pg_catalog.pg_namespace n join pg_catalog.pg_class c on (c.relnamespace = n.oid) join pg_catalog.pg_attribute a on (a.attrelid = c.oid) join pg_catalog.pg_type t on (a.atttypid = t.oid) left join pg_catalog.pg_attrdef def on (a.attrelid = def.adrelid and a.attnum = def.adnum) left join pg_catalog.pg_description dsc on (c.oid = dsc.objoid and a.attnum = dsc.objsubid) where c.relkind in ('r','p','v','f','m') and a.attnum > 0 and not a.attisdropped and n.nspname like 'bank' and c.relname like 'clients') c where true order by nspname, c.relname, attnum;
-- name: jdbc getPrimaryKeys
select null as table_cat, n.nspname as table_schem, ct.relname as table_name, a.attname as column_name, (information_schema._pg_expandarray(i.indkey)).n as key_seq, ci.relname as pk_name from pg_catalog.pg_class ct join pg_catalog.pg_attribute a on (ct.oid = a.attrelid) join pg_catalog.pg_namespace n on (ct.relnamespace = n.oid) join pg_catalog.pg_index i on (a.attrelid = i.indrelid) join pg_catalog.pg_class ci on (ci.oid = i.indexrelid) where true and n.nspname = 'bank' and ct.relname = 'clients' and i.indisprimary order by table_name, pk_name, key_seq limit 1;
-- name: rails columns
select a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid > 0 as t, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) as comment, attidentity as identity, attgenerated as attgenerated from pg_attribute a left join pg_attrdef d on a.attrelid = d.adrelid and a.attnum = d.adnum left join pg_type t on a.atttypid = t.oid left join pg_collation c on a.attcollation = c.oid and a.attcollation <> t.typcollation where a.attrelid = '"bank"."clients"'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum;
-- name: rails type map
select t.oid > 0 as has, t.typname, t.typelem >= 0 as e, t.typdelim, t.typinput::text as i, r.rngsubtype is not null as r, t.typtype, t.typbasetype >= 0 as b from pg_type as t left join pg_range as r on t.oid = r.rngtypid where t.typname in ('int2', 'int4', 'text', 'jsonb', 'daterange') order by t.typname;
-- name: django introspection
select c.relname, case when c.relispartition then 'p' when c.relkind in ('m', 'v') then 'v' else 't' end, obj_description(c.oid, 'pg_class') from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('f', 'm', 'p', 'r', 'v') and n.nspname not in ('pg_catalog', 'pg_toast') and pg_catalog.pg_table_is_visible(c.oid) order by 1;
-- name: sqlalchemy enums
select pg_catalog.pg_type.typname as name, pg_catalog.pg_type_is_visible(pg_catalog.pg_type.oid) as visible, lbl.labels as labels from pg_catalog.pg_type left outer join (select pg_catalog.pg_enum.enumtypid as enumtypid, array_agg(cast(pg_catalog.pg_enum.enumlabel as text) order by pg_catalog.pg_enum.enumsortorder) as labels from pg_catalog.pg_enum group by pg_catalog.pg_enum.enumtypid) as lbl on pg_catalog.pg_type.oid = lbl.enumtypid where pg_catalog.pg_type.typtype = 'e' and pg_catalog.pg_type.typname = 'client_status' order by 1;
-- name: prisma introspection of columns
select oid.namespace, info.table_name, info.column_name, format_type(att.atttypid, att.atttypmod) as formatted_type, info.numeric_precision, info.data_type, info.is_nullable, info.is_identity from information_schema.columns info join pg_attribute att on att.attname = info.column_name join (select pg_class.oid, relname, pg_namespace.nspname as namespace from pg_class join pg_namespace on pg_namespace.oid = pg_class.relnamespace) as oid on oid.oid = att.attrelid and relname = info.table_name and namespace = info.table_schema where namespace = 'bank' and info.table_name = 'branches' order by namespace, table_name, ordinal_position;
