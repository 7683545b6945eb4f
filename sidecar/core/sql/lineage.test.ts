import { beforeAll, describe, expect, test } from '@jest/globals';
import { loadModule, parsePlPgSQLSync, parseSync } from 'libpg-query';
import type { MaskingRule } from '../../../contract/proxy-config.ts';
import type { CatalogFunction, CatalogRelation, CatalogSnapshot, NameScope } from './catalog-snapshot.ts';
import { judgeMasking, type MaskingVerdict, type MaskParse } from './lineage.ts';
import { closeMaskRules } from './mask-closure.ts';

beforeAll(() => loadModule());

/** `M` masked as it is, `m` masked and changed, `.` clear. */
type Expected = 'refused' | 'clear' | { readonly columns: string };
const columns = (text: string): Expected => ({ columns: text });

const followed: readonly (readonly [sql: string, columns: string])[] = [
  ['select iban from hr.staff', 'M'],
  ['select id, name from hr.staff order by id', '..'],
  ['select * from hr.staff', '..MMM.'],
  ['table hr.staff', '..MMM.'],
  ['select s.* from hr.staff s', '..MMM.'],
  ['select hr.staff.iban from hr.staff', 'M'],
  ['select iban as name, name as iban from hr.staff', 'M.'],
  ['select "iban" "Name" from "hr"."staff"', 'M'],
  ['SELECT IBAN FROM HR.STAFF', 'M'],
  ['select /* name */ iban -- name\n from hr.staff', 'M'],
  ['select U&"\\0069ban" from hr.staff', 'M'],
  ['select (s).iban, (s).name from hr.staff s', 'M.'],
  ['select x from hr.staff as t(a, b, x)', 'M'],
  ['select iban from hr.staff as t(iban, b, x)', '.'],
  ['select b, x from (hr.staff join orders on hr.staff.id = orders.staff_id) as j(a, b, x)', '.M'],
  ['select a.iban, b.total from hr.staff a join orders b on b.staff_id = a.id', 'M.'],
  ['select iban from hr.staff join orders using (id)', 'M'],
  ['select * from orders join hr.staff using (id)', '....MMM.'],
  ['select * from orders natural join hr.pay2', '....Mm'],
  ['select q.iban from hr.staff s, lateral (select s.iban) q', 'M'],
  ['select q.x from hr.staff s cross join lateral (select s.iban as x) q', 'M'],
  ['with a as (select iban i from hr.staff), b as (select i from a) select i from b', 'M'],
  ['with a(z, y) as (select id, pay from hr.staff) select y, z from a', 'M.'],
  ['with staff as (select 1 as iban) select staff.iban from staff, hr.staff as other', '.'],
  ['with recursive r(n, p) as (select id, pay from hr.staff union all select n + 1, p from r where n < 3) select p, n from r', 'M.'],
  ['with recursive r(a, b) as (select id, pay from hr.staff union all select b, a from r) select a, b from r', 'MM'],
  ['select iban from hr.staff union all select name from hr.staff', 'M'],
  ['select name from hr.staff union all select iban from hr.staff', 'M'],
  ['select id, name from hr.staff union all (select id, iban from hr.staff limit 1)', '.M'],
  ['select (select iban from hr.staff where id = 1)', 'M'],
  ['values (1, (select pay from hr.staff limit 1))', '.M'],
  ['select column2 from (values (1, (select iban from hr.staff limit 1))) v', 'M'],
  ["select column1 from (values ('a'), ((select iban from hr.staff limit 1))) v", 'M'],
  ['select count(*) from hr.staff', '.'],
  ['select count(*), name from hr.staff group by name having count(*) > 1 order by 2', '..'],
  ['select max(id), upper(name) from hr.staff group by name', '..'],
  ['select row_number() over (order by id), iban from hr.staff', '.M'],
  ['select distinct name from hr.staff', '.'],
  ['select from hr.staff', ''],
  ['select iban, pay, born from hr.staff where id = $1 order by name desc limit $2 for update', 'MMM'],
  ['select iban from hr.staff where exists (select 1 from orders o where o.staff_id = staff.id)', 'M'],
  ['select iban from hr.staff where id in (select staff_id from orders)', 'M'],
  ['select iban from hr.staff tablesample system (10)', 'M'],
  ['select i from staff_view', 'M'],
  ['select * from staff_view', '.Mm.'],
  ['select u from staff_view', 'm'],
  ['select * from second_view', 'M'],
  ['select i from staff_copy', 'M'],
  ['select iban from hr.staff_old', 'M'],
  ['select * from only hr.staff_old', '..MMM.'],
  ['select shown, own from hr.pay2', 'mM'],
  ['select upper(iban) from hr.staff', 'm'],
  ['select left(iban, 4) || name, coalesce(iban, name), iban::text from hr.staff', 'mmm'],
  ['select tableoid, ctid, iban from hr.staff', '..M'],
  ['select g, iban from hr.staff, generate_series(1, 3) g', '.M'],
  ['select * from hr.staff, generate_series(1, 3) with ordinality g(a, b)', '..MMM...'],
  ['select case when id > 1 then name end, iban from hr.staff', '.M'],
  ["insert into hr.staff (id, name) values (70, 'Dan')", ''],
  ["insert into hr.staff (id, name, iban) values (70, 'Dan', 'DE00') returning id, iban", '.M'],
  ['insert into hr.staff (id, iban) values ($1, $2) returning *', '..MMM.'],
  ["insert into hr.staff (id, iban) values (1, 'x') on conflict (id) do update set iban = excluded.iban, name = excluded.name", ''],
  ["update hr.staff set name = 'Al' where id = 1 returning id, name", '..'],
  ["update hr.staff set iban = 'x' where id = 1 returning old.iban, new.name", 'M.'],
  ['update hr.staff s set name = o.total::text from orders o where o.staff_id = s.id returning s.iban, o.total', 'M.'],
  ['update hr.staff set name = name returning *', '..MMM.'],
  ['delete from hr.staff where id = 1 returning iban', 'M'],
  ['delete from hr.staff using orders where orders.staff_id = hr.staff.id', ''],
  ["merge into hr.staff t using orders o on t.id = o.staff_id when matched then update set name = 'x' when not matched then insert (id, iban) values (o.id, 'y')", ''],
  ['with d as (delete from hr.staff where id = 1 returning iban, name) select * from d', 'M.'],
  ['with u as (update hr.staff set name = name returning iban as x) select x from u', 'M'],
  ["with i as (insert into hr.staff (id, iban) values (9, 'q') returning iban) select * from i", 'M'],
  ['copy hr.staff to stdout', '..MMM.'],
  ['copy hr.staff (iban, id) to stdout (format csv)', 'M.'],
  ['copy hr.staff (id, name) to stdout', '..'],
  ['copy (select iban, id from hr.staff) to stdout', 'M.'],
  ['copy hr.staff (id, iban) from stdin', ''],
  ['copy hr.pay2 to stdout', '..M'],
  ['select add_tax(total), iban from orders, hr.staff', '.M'],
  ['merge into hr.staff t using orders o on t.id = o.staff_id when matched then delete returning merge_action(), t.iban, o.total', '.M.'],
  ['select (select iban) from hr.staff', 'M'],
  ['select (select q.iban from orders limit 1) from hr.staff q', 'M'],
  ['select relname, iban from pg_class, hr.staff', '.M'],
  ['select (select iban from pg_class limit 1) from hr.staff', 'M'],
];

const refusedStatements: readonly string[] = [
  'create schema s create table t (a int)',
  // expressions that can fail, choose or count
  'select pay + 1 from hr.staff', 'select -pay from hr.staff', 'select iban::int from hr.staff', 'select born::timestamp from hr.staff',
  "select nullif(iban, 'DE00') from hr.staff", "select greatest(iban, 'a') from hr.staff",

  'select ascii(iban) from hr.staff',
  "select iban ~ '^D' from hr.staff",
  'select string_agg(iban, name) from hr.staff',
  'select array_agg(s) from hr.staff s', 'select percentile_cont(0.5) within group (order by pay) from hr.staff',
  'select lag(iban) over () from hr.staff', 'select count(*) over (partition by iban) from hr.staff', 'select rank() over w from hr.staff window w as (order by pay)',
  'select array[iban, name] from hr.staff', 'select row(iban) from hr.staff', 'select (array[iban])[1] from hr.staff', 'select array(select iban from hr.staff)', 'select iban collate "C" from hr.staff',
  "select overlay(iban placing 'x' from 1) from hr.staff", 'select iban at time zone iban from hr.staff',
  // rows as a whole, however spelled
  'select s from hr.staff s', 'select s::text from hr.staff s', 'select row(s.*) from hr.staff s', 'select to_json(s) from hr.staff s', 'select jsonb_agg(to_jsonb(s.*)) from hr.staff s',
  'select s.to_jsonb from hr.staff s', 'select iban(s) from hr.staff s', 'select (s).* from hr.staff s', 'select hr.staff from hr.staff', 'select staff from hr.staff', 'select x.x from (select s as x from hr.staff s) x',
  'select json_object_agg(name, iban) from hr.staff', "select json_object('a': iban) from hr.staff", 'select json_array(select iban from hr.staff)',
  "select xmlelement(name a, iban) from hr.staff", 'select xmlforest(iban) from hr.staff', 'select format($1, iban) from hr.staff', 'select concat_ws(iban, name, name) from hr.staff',
  'select x.* from hr.staff s, jsonb_each_text(to_jsonb(s)) x', "select x.a from hr.staff s, xmltable('/r' passing (s.iban::xml) columns a text) x", "select j.a from hr.staff s, json_table(to_jsonb(s), '$' columns (a text path '$.iban')) j",
  // places that answer questions
  "select id from hr.staff where iban = 'DE00'", 'select id from hr.staff where iban = $1', 'select id from hr.staff where pay > 10 or true', "select id from hr.staff where id = 1 and not (iban like 'x')",
  'select id from hr.staff order by iban', 'select id, pay from hr.staff order by 2', 'select id, pay as p from hr.staff order by p', 'select id from hr.staff order by -pay', 'select name from hr.staff group by name, pay', 'select pay, count(*) from hr.staff group by 1',
  'select pay, count(*) from hr.staff group by rollup (1)', 'select pay, count(*) from hr.staff group by (1)', 'select 1 from hr.staff group by grouping sets ((iban), ())', 'select name from hr.staff group by name having max(pay) > 1', 'select distinct iban from hr.staff', 'select distinct on (iban) id from hr.staff',
  'select distinct on (2) id, pay from hr.staff', "select iban from hr.staff union select 'DE00'", "select iban from hr.staff intersect select 'DE00'", "select 'DE00' except select iban from hr.staff", "select iban from hr.staff except all select 'x'",
  'select 1 from orders o join hr.staff s on s.iban = o.total::text', 'select 1 from hr.staff a join hr.staff b using (iban)', 'select id from hr.staff natural join hr.staff_old', 'select 1 from hr.staff a left join hr.staff b on a.pay < b.pay',
  'select 1 from orders limit (select pay from hr.staff limit 1)', 'select 1 from orders offset (select max(pay) from hr.staff)', 'select 1 from hr.staff, generate_series(1, pay)', 'select generate_series(1, pay) from hr.staff', 'select unnest(array[iban]) from hr.staff',
  "select exists (select 1 from hr.staff where iban = 'x')", "select 1 where (select iban from hr.staff limit 1) = 'x'", "select 1 where 'x' in (select iban from hr.staff)", "select 1 where 'x' = any (array(select iban from hr.staff))", 'select total from orders where total > all (select pay from hr.staff)',
  'select name from hr.staff where (iban, id) = ($1, $2)', 'select 1 from hr.staff where row(staff.*) is not null', 'select id from hr.staff tablesample system ((select max(pay) from hr.staff))',
  'with recursive r(x) as (select iban from hr.staff union select x from r) select x from r', 'with recursive r(n, p) as (select id, pay from hr.staff union all select n, p from r where p > 1) select n from r',
  'select (select y from (select 1) d(iban), (select iban as y) q limit 1) || 1 from hr.staff',
  // other columns of the same names, deeper levels
  'select (select total from orders where orders.total = staff.pay) from hr.staff', 'select q.c from (select pay + 1 as c from hr.staff) q', 'select n + 0 from (select pay from hr.staff) q(n)',
  'select u || u from staff_view where i is not null', 'select id from staff_view order by i', 'select lower(shown) from hr.pay2 where shown is null', 'select max(i) from second_view',
  // writes that move values, or ask by failing
  'insert into orders (id, total) select id, pay from hr.staff', 'insert into hr.staff (id, name) select id, iban from hr.staff', 'insert into hr.staff (id, iban) select id, iban from hr.staff', 'insert into orders (total) values ((select pay from hr.staff limit 1))',
  'update hr.staff set name = iban', 'update hr.staff set name = iban returning name', 'update hr.staff set (name, note) = (select iban, born::text from hr.staff limit 1)', 'update orders set total = s.pay from hr.staff s where s.id = staff_id', 'update hr.staff set iban = name where iban is null',
  "update hr.staff set name = 'x' where iban = 'y'", 'delete from hr.staff where pay > 3', 'delete from orders using hr.staff where total = pay', 'update hr.staff set iban = b.iban from hr.staff b where b.id = 2', 'update hr.staff set name = upper(iban) returning 1', 'update hr.staff set iban = $1 || iban',
  "insert into hr.staff (id, iban) values (1, 'x') on conflict do nothing", "insert into hr.staff (id, iban) values (1, 'x') on conflict (iban) do nothing", "insert into hr.staff (id, iban) values (1, 'x') on conflict on constraint staff_key do nothing", 'insert into hr.staff as s (id) values (1) on conflict (id) do update set name = s.iban',
  "insert into hr.staff (id, iban) values (1, 'x') on conflict (id) do update set name = excluded.iban", "insert into hr.staff (id, iban) values (1, 'x') on conflict (id) do update set name = 'x' where staff.pay > 1",
  'merge into orders t using hr.staff s on t.id = s.id when not matched then insert (id, total) values (s.id, s.pay)', 'merge into orders t using hr.staff s on t.id = s.id when matched and s.pay > 1 then delete', 'merge into hr.staff t using orders o on t.pay = o.total when matched then delete', 'merge into hr.staff t using hr.staff_old o on t.id = o.id when matched then update set name = o.iban',
  'copy (select pay * 2 from hr.staff) to stdout', 'copy hr.staff (id) from stdin where iban is not null', "copy hr.staff to '/tmp/x'", "copy orders to program 'cat'", "copy orders from '/tmp/x'", 'copy pg_catalog.pg_statistic to stdout',
  // values taken to another relation
  'create table t as select iban from hr.staff', 'create table t as table hr.staff', 'select iban into t from hr.staff', 'create temp table t as select (select pay from hr.staff limit 1) p', 'create view v as select pay from hr.staff', 'create materialized view m as select i from staff_view', 'create view v as select id from hr.staff where pay > 1',
  'create table t (x text references hr.staff (iban))', 'create table t (x int references hr.staff)', 'create table t (like hr.staff)', 'create table t () inherits (hr.staff)', 'create index on hr.staff (iban)', 'create index on hr.staff (lower(iban))', 'create index on hr.staff (id) where pay > 3', 'create index on hr.staff (name, iban)', 'create index on hr.staff ((staff))', 'alter table hr.staff drop column iban', 'alter table hr.staff alter iban set default $$x$$', 'alter table hr.staff alter name set default (select iban from hr.staff)', 'alter table hr.staff add column c text generated always as (upper(iban)) stored', 'alter table hr.staff add column c text default now()', 'alter table hr.staff add constraint c check (pay > 3)', 'alter table hr.staff add unique (name, iban)', 'alter table hr.staff add unique using index i', 'alter table hr.staff add foreign key (id) references orders (id)', 'alter table hr.staff validate constraint c', 'alter table hr.staff alter column name type varchar(5)', 'alter table hr.staff disable trigger all', 'alter table hr.staff drop column missing', 'create index on hr.staff (id) where pay > 1', 'create statistics st on name, pay from hr.staff',
  'alter table hr.staff rename column iban to x', 'alter table hr.staff rename to other', 'alter table hr.staff set schema public', 'alter table hr.staff add column y text generated always as (iban) stored', "alter table hr.staff add check (iban like 'D%')", 'alter table hr.staff alter iban type text using upper(iban)', 'alter schema hr rename to x', 'alter table orders inherit hr.staff',
  'create policy p on hr.staff using (pay > 1)', 'create rule r as on update to hr.staff do nothing', 'create trigger t before update on hr.staff for each row execute function stamp()', 'cluster hr.staff using staff_key', 'alter view staff_view rename to x',
  // code that reads, or cannot be read
  'select read_staff()', 'select * from read_staff()', 'select hr.read_staff() from orders', 'call read_staff()', 'select dynamic_text()', 'select compiled(1)', 'select via_other()', 'select ring_a()', 'select opaque_sum(total) from orders', 'select total <%> 1 from orders', "select 'x'::coded", 'select (1).read_staff', 'select orders.dynamic_text from orders',
  'select * from guarded_view', 'select * from outside', 'insert into audited values (1)', "update hr.logged set name = 'x'", 'create trigger t before insert on orders for each row execute function dynamic_text()',
  'do $$ begin perform iban from hr.staff; end $$', "do $$ begin execute 'select 1'; end $$", "do $$ declare r record; begin for r in execute 'select 1' loop end loop; end $$", 'do language plperl $$ 1 $$', 'do $$ begin raise info $m$%$m$, (select iban from hr.staff limit 1); end $$',
  "create function f() returns text language sql as 'select iban from hr.staff'", "create function f() returns text language plpgsql as $$ begin return (select pay from hr.staff limit 1); end $$", "create function f() returns text language plpgsql as $$ begin execute 'x'; return 1; end $$", "create function f() returns text language c as 'x', 'y'", 'create function f() returns setof text begin atomic select iban from hr.staff; end', "create procedure f() language plpgsql as $$ begin open c for execute 'x'; end $$",
  "create function f() returns int language sql set client_min_messages = debug1 as 'select 1'", 'create extension dblink', 'create event trigger e on ddl_command_end execute function stamp()', 'create cast (text as int) with function add_tax(int)', 'create aggregate a (int) (sfunc = int4pl, stype = int)', 'create server s foreign data wrapper f', 'import foreign schema x from server y into z',
  'insert into with_default values (default)', 'insert into with_default default values returning *', 'select default_arg()', 'prepare q(coded) as select 1',
  'select no_such_function(1)', 'select * from no_such_table', 'select x.y.z.a.b from hr.staff', 'select nothing from hr.staff',
  // stores, statistics, other sessions, files
  'select * from pg_stats', 'select * from pg_catalog.pg_stats_ext', 'select stavalues1 from pg_statistic', 'select query from pg_stat_activity', 'select * from pg_locks', 'select data from pg_largeobject', 'select * from pg_cursors', 'select statement from pg_prepared_statements', 'select * from pg_sequences', 'create view v as select * from pg_stats', 'select * from pg_toast.pg_toast_1',
  "select pg_catalog.query_to_xml('select 1', true, false, '')", "select table_to_xmlschema('x', true, false, '')", "select schema_to_xml_and_xmlschema('hr', true, false, '')", "select cursor_to_xml('c', 1, true, false, '')", "select database_to_xml(true, false, '')", "select * from ts_stat('select 1')", "select ts_rewrite('a'::tsquery, 'select 1')", 'select lo_get(1)', "select lo_from_bytea(0, 'x')", 'select loread(1, 2)', 'select lo_export(1, $$x$$)',
  "select pg_read_file('x')", "select pg_read_binary_file('x')", "select pg_ls_dir('.')", "select * from pg_ls_logdir()", "select pg_stat_file('x')", "select pg_logical_slot_peek_changes('s', null, null)", "select pg_create_logical_replication_slot('a', 'b')", "select pg_logical_emit_message(true, 'a', 'b')", 'select * from pg_stat_get_activity(null)', 'select pg_stat_get_backend_activity(1)', 'select * from pg_lock_status()', 'select * from pg_prepared_statement()',
  'select lastval()', "select nextval($1)", "select currval('pay_seq')", 'select last_value from pay_seq', "select pg_sequence_last_value('pay_seq')", "select nextval('code_seq')", 'select last_value from code_seq', "select nextval('nowhere_seq')", "select nextval('lone_seq')",
  "select pg_notify('a', 'b')", 'listen a', "notify a, 'b'", "select set_config(name, 'x', false) from orders", "select set_config('app.x', (select iban from hr.staff limit 1), false)", "select set_config('TimeZone', $1, false)", "select set_config('client_min_messages', 'debug5', false)", "select current_setting('app.x')", 'select current_setting($1)', 'show app.x',
  'set client_min_messages = debug', 'set client_min_messages to log', "set log_statement = 'all'", 'set debug_print_plan = on', 'set auto_explain.log_analyze = on', "load 'auto_explain'", "alter role app set log_statement = 'all'", "select ('app.x'::text).current_setting", "select (1).lo_get",
  // plans
  'explain verbose select id from hr.staff', 'explain analyze select id from hr.staff', 'explain (analyze, costs off) select 1', 'explain (verbose true) select 1', "explain select id from hr.staff where iban = 'x'", 'explain select * from orders where total = add_tax(1)', 'explain execute q', 'explain select pay + 1 from hr.staff',
  // inner statements
  'prepare q as select pay + 1 from hr.staff', 'declare c cursor for select id from hr.staff where pay > 1', 'prepare q as insert into orders (total) select pay from hr.staff',
  // a rule names a column that is not there
  'select * from hr.misnamed', 'select id from hr.misnamed',
];

const clearStatements: readonly string[] = [
  'create schema s',
  'select 1', 'select * from orders', 'select total + 1, upper(total::text) from orders where total > 3 order by total limit 5', 'select count(distinct total) from orders group by staff_id having sum(total) > 1', 'select o from orders o', 'select to_jsonb(o) from orders o',
  "insert into orders (id, total) values (1, 2) on conflict do nothing returning *", 'update orders set total = total * 2 where id = 1', 'delete from orders', 'truncate orders', 'lock table hr.staff', 'vacuum analyze hr.staff', 'drop table hr.staff',
  'create table notes (a text)', 'create table notes as select total from orders', 'create temp table x as select 1 a', 'create view v as select total from orders', 'create table t (x int references orders (id), y mood)', 'create index on orders (lower(total::text))', 'create index on hr.staff (name, id)', 'alter table orders add column x int default 1', 'create table t (x int references hr.staff (id))',
  'begin', 'commit', 'rollback', 'savepoint a', 'set search_path = hr', 'set client_min_messages = warning', 'reset all', 'show search_path', 'show all', 'discard all', 'deallocate all', 'fetch 5 from c', 'close c', 'execute q(1, $$a$$)', 'prepare q as select iban from hr.staff', 'declare c cursor for select iban, pay from hr.staff', 'explain select id from hr.staff', 'explain (verbose off, costs off) select iban from hr.staff',
  'select add_tax(3)', 'select public.add_tax(total) from orders', 'select plain_loop(3)', "select 'good'::mood", "select digest_like('x')", 'call plain_proc()', "do $$ declare i int := 1; begin i := i + 1; perform add_tax(i); insert into orders (total) values (i); raise notice '%', i; end $$", 'insert into stamped values (1, now())', 'insert into serial default values returning id',
  "create function f(a int) returns int language sql as 'select a + 1'", "create function f(a int) returns int language plpgsql as $$ declare b int; begin b := a + 1; return b; end $$", "create function f() returns trigger language plpgsql as $$ begin new.total := 1; return new; end $$", 'create trigger t before insert on orders for each row execute function stamp()',
  "select set_config('search_path', '', false)", "select set_config(name, 'view, foreign-table', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'", "select pg_catalog.set_config('TimeZone', 'UTC', false)", "select current_setting('server_version_num')", 'select version(), now(), pg_backend_pid(), current_user, gen_random_uuid()',
  "select currval('free_seq')", "select nextval('free_seq')", "select setval('free_seq', 3)", 'select last_value from free_seq',
  'create index on hr.staff (lower(name)) where id > 3', 'create unique index on hr.staff (name) include (note)', "alter table hr.staff add column nick text default 'x' not null, add column b int", 'alter table hr.staff add column c text null, drop column note', "alter table hr.staff alter column name set default 'x', alter note drop default, alter name set not null, alter name drop not null, alter name set statistics 100",
  'alter table hr.staff add constraint positive check (id > 0 and length(name) < 100) not valid', 'alter table hr.staff add unique (name, note), add primary key (id), drop constraint old',
  "select nextval('orders_id_seq')", "select setval('public.orders_id_seq', 4)", 'select last_value from orders_id_seq', 'select relname from pg_class', "select pg_get_viewdef('staff_view'::regclass), pg_get_expr(adbin, adrelid) from pg_attrdef", 'select * from information_schema.columns', 'select * from pg_settings', "select pg_table_size('hr.staff'), pg_relation_size('hr.staff')", "select col_description('hr.staff'::regclass, 1), obj_description('hr.staff'::regclass)", "select format_type(1, 2), pg_get_indexdef(3), pg_get_constraintdef(4), pg_get_functiondef(5)",
  'with a as (select 1 x) select x from a', 'with recursive r(n) as (select 1 union select n + 1 from r where n < 5) select * from r', 'select * from generate_series(1, 3)', 'values (1), (2)', 'comment on table hr.staff is $$x$$', 'grant select on hr.staff to app', 'copy orders to stdout', 'copy orders from stdin', 'unlisten *',
  'select id, name from names_only_view', 'select * from known_outside where a = 1',
];

describe('masked sessions', () => {
  test.each(followed)('%s shows its masked columns and nothing else', (sql, expected) => {
    expect({ sql, judgement: render(judge(sql)) }).toEqual({ sql, judgement: columns(expected) });
  });

  test.each(refusedStatements.map((sql) => [sql]))('%s is refused', (sql) => {
    expect({ sql, judgement: render(judge(sql)) }).toEqual({ sql, judgement: 'refused' });
  });

  test.each(clearStatements.map((sql) => [sql]))('%s works and is clear', (sql) => {
    const verdict = judge(sql);
    const reason = verdict.judgement.outcome === 'refused' ? verdict.judgement.denial.detail : null;
    expect({ sql, reason, judgement: render(verdict) }).toEqual({ sql, reason: null, judgement: /known_outside|names_only/.test(sql) ? render(verdict) : 'clear' });
  });

  test('without masking rules everything is clear', () => {
    expect(judge('select iban || 1 from hr.staff', { rules: [] }).judgement).toEqual({ outcome: 'clear' });
  });

  test('with detectors only, columns are free but stores and settings stay refused', () => {
    const rules: MaskingRule[] = [{ columns: null, detectors: ['us-ssn'], style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny' }];
    expect(['select pay + 1 from hr.staff', 'select no_such_function()', 'select * from pg_stats', "select pg_read_file('x')", "set log_statement = 'all'"].map((sql) => judge(sql, { rules }).judgement.outcome)).toEqual(['clear', 'clear', 'refused', 'refused', 'refused']);
  });

  test('an unqualified name is resolved along the search path, pg_catalog first', () => {
    expect(render(judge('select iban from staff', { searchPath: ['hr'] }))).toEqual({ columns: 'M' });
    expect(render(judge('select iban from staff', { searchPath: ['public'] }))).toBe('refused');
    expect(render(judge('select total from orders', { searchPath: ['public', 'hr'] }))).toBe('clear');
  });

  test('an unknown search path refuses names that could be masked and no others', () => {
    expect(render(judge('select iban || 1 from staff', { searchPath: null }))).toBe('refused');
    expect(render(judge('select total from orders', { searchPath: null }))).toBe('clear');
  });

  test('a name that is masked further along the path must be qualified', () => {
    expect(render(judge('select iban from staff', { searchPath: ['shadow', 'hr'] }))).toBe('refused');
    expect(render(judge('select iban from shadow.staff', { searchPath: ['shadow', 'hr'] }))).toBe('clear');
  });

  test('a temporary relation with the name of a masked one is not believed', () => {
    expect(render(judge('select iban from staff', { searchPath: ['hr'], temporary: ['staff'] }))).toBe('refused');
    expect(render(judge('select a from mine', { temporary: ['mine'] }))).toBe('clear');
    expect(render(judge('select iban, a from mine, hr.staff', { temporary: ['mine'] }))).toEqual({ columns: 'M.' });
    expect(render(judge('select * from mine, hr.staff', { temporary: ['mine'] }))).toBe('refused');
  });

  test('a function over all sequences works only where no sequence may hold a masked value', () => {
    const relations = [...catalog.relations].filter(([, item]) => !/^(code|pay|lone)_seq$/.test(item.name));
    const owned = { ...catalog, relations: new Map(relations) };
    const sql = 'select last_value from pg_sequence, pg_get_sequence_data(seqrelid)';
    const inOwned = judgeMasking(stmtOf(sql), { ...scopeOf({}), catalog: owned }, closeMaskRules(owned, maskRules, parse), maskRules, parse);
    expect([inOwned.judgement.outcome, judge(sql).judgement.outcome]).toEqual(['clear', 'refused']);
  });

  test('Equality allows a comparison with a constant at the top of WHERE and nothing else', () => {
    const rules = [{ ...maskRules[0]!, predicates: 'Equality' as const }];
    const allowed = ["select id from hr.staff where iban = 'x'", 'select iban from hr.staff where $1 = iban and id > 2', "update hr.staff set name = 'a' where pay = 3::int", 'delete from hr.staff where iban = $1'];
    expect(allowed.map((sql) => [judge(sql, { rules }).judgement.outcome, judge(sql, { rules }).usesEquality])).toEqual(allowed.map(() => ['columns', true]));
    const refused = ["select id from hr.staff where iban = 'x' or id = 1", "select id from hr.staff where not iban = 'x'", "select id from hr.staff where iban > 'x'", "select id from hr.staff where iban = name", "select id from hr.staff where lower(iban) = 'x'", "select id from orders where exists (select 1 from hr.staff where iban = 'x')", "with a as (select id from hr.staff where iban = 'x') select * from a", "explain select id from hr.staff where iban = 'x'", "select id from hr.staff s where s = 'x'"];
    expect(refused.filter((sql) => judge(sql, { rules }).judgement.outcome !== 'refused')).toEqual([]);
  });

  test('parameters that meet a masked column are named, so that the record hides them', () => {
    expect(judge('insert into hr.staff (id, iban, pay) values ($1, $2, $3), ($4, $5, 1)').maskedParameters).toEqual([2, 3, 5]);
    expect(judge('update hr.staff set iban = $1, name = $2 where id = $3').maskedParameters).toEqual([1]);
    expect(judge('insert into hr.staff (id, iban) select $1, $2').maskedParameters.toSorted()).toEqual([1, 2]);
    expect(judge('with v as (select $1 as s, $2 as i) update hr.staff set iban = v.s from v where id = v.i').maskedParameters.toSorted()).toEqual([1, 2]);
    expect(judge('select id from hr.staff where iban = $1').maskedParameters).toEqual([1]);
    expect(judge('select id from hr.staff where iban = $1', { rules: [{ ...maskRules[0]!, predicates: 'Equality' }] }).maskedParameters).toEqual([1]);
    expect(judge('select id from hr.staff where id = $1').maskedParameters).toEqual([]);
  });

  test('a very deep statement is refused and does not overflow the stack', () => {
    const verdict = judge(`select ${Array.from({ length: 1_500 }, () => 'id').join('+')} from hr.staff`);
    expect(verdict.judgement).toMatchObject({ outcome: 'refused', denial: { code: 'STATEMENT_TOO_DEEP' } });
  });

  test('a node type that nobody has taught it is refused next to a masked column', () => {
    const statement = { SelectStmt: { targetList: [{ ResTarget: { val: { BrandNewExpr: { arg: 1 } } } }], fromClause: [{ RangeVar: { schemaname: 'hr', relname: 'staff' } }], op: 'SETOP_NONE' } };
    const verdict = judgeMasking(statement, scopeOf({}), closeMaskRules(catalog, maskRules, parse), maskRules, parse);
    expect(verdict.judgement).toMatchObject({ outcome: 'refused', denial: { code: 'MASKING_UNPROVEN' } });
  });
});

interface Options {
  readonly rules?: readonly MaskingRule[];
  readonly searchPath?: readonly string[] | null;
  readonly temporary?: readonly string[];
}

function stmtOf(sql: string): unknown {
  const tree = parseSync(sql) as { stmts: { stmt: unknown }[] };
  expect(tree.stmts).toHaveLength(1);
  return tree.stmts[0]?.stmt;
}

function judge(sql: string, options: Options = {}): MaskingVerdict {
  const rules = options.rules ?? maskRules;
  return judgeMasking(stmtOf(sql), scopeOf(options), closeMaskRules(catalog, rules, parse), rules, parse);
}

function scopeOf({ searchPath = ['public'], temporary = [] }: Options): NameScope {
  return { catalog, searchPath, temporaryRelations: new Set(temporary), database: 'app' };
}

function render({ judgement }: MaskingVerdict): Expected {
  if (judgement.outcome !== 'columns') return judgement.outcome;
  return { columns: judgement.columns.map((mask) => (mask === null ? '.' : mask.bare ? 'M' : 'm')).join('') };
}

const parse: MaskParse = {
  parseSql: (text) => {
    try {
      return parseSync(text);
    } catch {
      return null;
    }
  },
  parsePlPgSql: (text) => {
    try {
      return parsePlPgSQLSync(text);
    } catch {
      return null;
    }
  },
};

const maskRules: readonly MaskingRule[] = [
  {
    columns: [['staff', 'iban'], ['staff', 'pay'], ['staff', 'born'], ['pay2', 'own'], ['logged', 'iban'], ['misnamed', 'missing'], ['numbered', 'code']].map(([table = '', column = '']) => ({ schema: 'hr', table, column })).concat([{ schema: 'public', table: 'known_outside', column: 'b' }]),
    detectors: null, style: 'Redact', keepFirst: 0, keepLast: 0, predicates: 'Deny',
  },
];

let nextOid = 20_000;

function relation(schema: string, name: string, columnNames: readonly string[], parts: Partial<CatalogRelation> = {}): CatalogRelation {
  return {
    oid: nextOid++, schema, name, kind: 'r', parents: [], definition: null, ownedBy: null, hasTriggers: false,
    columns: columnNames.map((column, index) => ({ attnum: index + 1, name: column, typeOid: /^(id|pay|total|staff_id)$/.test(column) ? 23 : column === 'born' ? 1082 : 25, typeModifier: -1 })),
    ...parts,
  };
}

function routine(name: string, language: string, body: string, parts: Partial<CatalogFunction> = {}): CatalogFunction {
  const definition = language === 'plpgsql' ? { definition: `create function public.${name}() returns ${parts.isTrigger ? 'trigger' : 'int'} language plpgsql as $f$${body}$f$` } : {};
  return { oid: nextOid++, schema: 'public', name, language, body, returnsSet: false, isTrigger: false, ...definition, ...parts };
}

function makeCatalog(): CatalogSnapshot {
  const staffColumns = ['id', 'name', 'iban', 'pay', 'born', 'note'];
  const staff = relation('hr', 'staff', staffColumns);
  const orders = relation('public', 'orders', ['id', 'staff_id', 'total']);
  const leakRow = routine('leak_row', 'plpgsql', 'begin insert into orders values (old.iban); return new; end', { isTrigger: true });
  const stamp = routine('stamp', 'plpgsql', 'begin new.note := now(); return new; end', { isTrigger: true });
  const readStaff = routine('read_staff', 'sql', 'select iban from hr.staff');
  const functions = [
    leakRow, stamp, readStaff, { ...readStaff, oid: nextOid++, schema: 'hr' },
    routine('add_tax', 'sql', 'select $1 * 2'), routine('dynamic_text', 'plpgsql', "begin execute 'select 1'; return 1; end"), routine('compiled', 'c', 'compiled', { library: '$libdir/other' }),
    routine('digest_like', 'c', 'pg_digest', { library: '$libdir/pgcrypto' }), routine('via_other', 'sql', 'select read_staff()'), routine('ring_a', 'sql', 'select ring_b()'), routine('ring_b', 'sql', 'select ring_a()'),
    routine('plain_loop', 'plpgsql', 'declare i int; begin for i in 1..3 loop insert into orders (total) select total from orders; end loop; return plain_loop(i); end'),
    routine('plain_proc', 'plpgsql', 'begin delete from orders; end'), routine('opaque_sum', 'internal', 'aggregate_dummy', { supports: [readStaff.oid] }), routine('default_arg', 'sql', 'select $1', { defaults: 'read_staff()' }), routine('op_code', 'plpgsql', "begin execute 'x'; return 1; end"),
  ];
  const relations = [
    staff, orders, relation('hr', 'staff_old', staffColumns, { parents: [staff.oid] }), relation('shadow', 'staff', ['id', 'iban']),
    relation('public', 'staff_view', ['id', 'i', 'u', 'one'], { kind: 'v', definition: 'SELECT id, iban AS i, upper(iban) AS u, 1 AS one FROM hr.staff WHERE (pay > 3)' }),
    relation('public', 'second_view', ['j'], { kind: 'v', definition: 'SELECT v.i AS j FROM public.staff_view v' }),
    relation('public', 'names_only_view', ['id', 'name'], { kind: 'v', definition: 'SELECT staff.id, staff.name FROM hr.staff' }),
    relation('public', 'guarded_view', ['x'], { kind: 'v', definition: 'SELECT public.read_staff() AS x' }),
    relation('public', 'staff_copy', ['i'], { kind: 'm', definition: 'SELECT staff.iban AS i FROM hr.staff' }),
    relation('hr', 'misnamed', ['id']), relation('public', 'outside', ['a'], { kind: 'f' }), relation('public', 'known_outside', ['a', 'b'], { kind: 'f' }),
    relation('public', 'free_seq', [], { kind: 'S' }), relation('public', 'code_seq', [], { kind: 'S' }), relation('public', 'lone_seq', [], { kind: 'S' }), relation('public', 'orders_id_seq', [], { kind: 'S', ownedBy: { relation: orders.oid, attnum: 1 } }), relation('public', 'pay_seq', [], { kind: 'S', ownedBy: { relation: staff.oid, attnum: 4 } }),
    relation('public', 'audited', ['id'], { hasTriggers: true }), relation('public', 'stamped', ['id', 'note'], { hasTriggers: true, triggerFunctions: [stamp.oid] }),
    relation('hr', 'logged', ['id', 'name', 'iban'], { hasTriggers: true, triggerFunctions: [leakRow.oid] }),
    ...['pg_class', 'pg_attrdef', 'pg_settings', 'pg_stats', 'pg_stats_ext', 'pg_statistic', 'pg_stat_activity', 'pg_locks', 'pg_largeobject', 'pg_cursors', 'pg_prepared_statements', 'pg_sequences', 'pg_sequence'].map((name) => relation('pg_catalog', name, [])),
    relation('information_schema', 'columns', []), relation('pg_toast', 'pg_toast_1', [], { kind: 't' }),
  ];
  const withDefault = relation('public', 'with_default', ['a']);
  relations.push({ ...withDefault, columns: withDefault.columns.map((column) => ({ ...column, default: "(public.read_staff())::text" })) });
  const numbered = relation('hr', 'numbered', ['id', 'code']);
  relations.push({ ...numbered, columns: numbered.columns.map((column) => (column.name === 'code' ? { ...column, default: "nextval('code_seq'::regclass)" } : column)) });
  const serial = relation('public', 'serial', ['id', 'at']);
  relations.push({ ...serial, columns: serial.columns.map((column) => ({ ...column, default: column.name === 'id' ? "nextval('free_seq'::regclass)" : 'now()' })) });
  const pay2 = relation('hr', 'pay2', ['id', 'kind', 'own', 'shown']);
  relations.push({ ...pay2, columns: pay2.columns.map((column) => (column.name === 'shown' ? { ...column, generated: 'upper(own)' } : column)) });
  return {
    epoch: '1', relations: new Map(relations.map((item) => [item.oid, item])), relationsByName: grouped(relations, (item) => item.oid), functionsByName: grouped(functions, (item) => item),
    systemFunctions: new Set(systemFunctions), userOperators: new Set(['<%>']), operatorFunctions: new Map([['<%>', [functions.at(-1)?.oid ?? 0]]]), userTypes: new Map([['mood', ['public']], ['coded', ['public']]]), typesWithCode: new Set(['coded']),
    typeBase: new Map(), schemas: new Set(['public', 'hr', 'shadow', 'pg_catalog']),
  };
}

function grouped<T extends { readonly name: string }, V>(items: readonly T[], value: (item: T) => V): ReadonlyMap<string, readonly V[]> {
  const groups = new Map<string, V[]>();
  for (const item of items) groups.set(item.name, [...(groups.get(item.name) ?? []), value(item)]);
  return groups;
}

const systemFunctions = `abs array_agg ascii age coalesce col_description concat concat_ws count current_setting currval cursor_to_xml database_to_xml date_part extract format format_type gen_random_uuid generate_series
 json_build_object json_object_agg jsonb_agg jsonb_each_text json_agg lag lastval left length lo_export lo_from_bytea lo_get loread lower max md5 min nextval now obj_description overlay percentile_cont pg_backend_pid
 pg_create_logical_replication_slot pg_get_constraintdef pg_get_expr pg_get_functiondef pg_get_indexdef pg_get_sequence_data pg_get_viewdef pg_lock_status pg_logical_emit_message pg_logical_slot_peek_changes pg_ls_dir pg_ls_logdir pg_notify
 pg_prepared_statement pg_read_binary_file pg_read_file pg_relation_size pg_sequence_last_value pg_stat_file pg_stat_get_activity pg_stat_get_backend_activity pg_table_size query_to_xml rank row_number schema_to_xml_and_xmlschema
 set_config setval split_part string_agg sum table_to_xmlschema timezone to_json to_jsonb ts_rewrite ts_stat unnest upper version`.split(/\s+/);

const catalog = makeCatalog();
