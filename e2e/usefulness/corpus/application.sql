-- What applications and people type: look-ups, lists, writes. Everything runs in a transaction that is rolled back.

-- name: client by id
-- masks: ssn, email, phone, birth_date
select * from bank.clients where id = 7;
-- name: client names by prefix
select id, full_name from bank.clients where full_name like 'Client 1%' order by full_name;
-- name: accounts of a client
-- masks: iban
select id, iban, currency, balance from bank.accounts where client_id = 7 order by id;
-- name: insert a client
-- write
insert into bank.clients (branch_id, full_name, ssn, email, phone) values (1, 'New Person', '511-22-9876', 'new.person@mail.example', '+4930999999') returning full_name, status;
-- name: insert a client and see the masked value
-- write
-- masks: email
insert into bank.clients (branch_id, full_name, email) values (1, 'New Person', 'new.person@mail.example') returning full_name, email;
-- name: insert several
-- write
insert into bank.branches (id, name, city) values (101, 'A', 'X'), (102, 'B', 'Y') returning *;
-- name: upsert
-- write
insert into bank.settings (key, value) values ('theme', '"light"') on conflict (key) do update set value = excluded.value returning key, value;
-- name: insert or nothing
-- write
insert into bank.branches (id, name, city) values (1, 'again', 'Z') on conflict do nothing;
-- name: insert from select
-- write
insert into bank.audit (actor, action, details) select 'me', 'copy', jsonb_build_object('branch', name) from bank.branches returning actor, action;
-- name: insert default values
-- write
insert into bank.audit (actor, action) values ('me', 'x') returning action, at is not null as stamped;
-- name: update a name
-- write
update bank.clients set full_name = 'Client Seven' where id = 7 returning id, full_name, updated_at;
-- name: update a masked column with a constant
-- write
update bank.clients set email = 'changed@mail.example', phone = null where id = 7;
-- name: update from a join
-- write
update bank.accounts a set balance = a.balance + 10 from bank.clients c where c.id = a.client_id and c.status = 'active' returning a.id, a.balance;
-- name: update by a subquery
-- write
update bank.accounts set balance = (select avg(balance) from bank.accounts) where id = 3 returning balance;
-- name: update jsonb
-- write
update bank.clients set preferences = jsonb_set(preferences, '{language}', '"it"') || '{"dark": true}' where id = 3 returning preferences;
-- name: update an array
-- write
update bank.clients set tags = array_append(tags, 'new') where id < 3 returning tags;
-- name: update with a row
-- write
update bank.clients set (full_name, status) = ('Both', 'closed') where id = 4 returning full_name, status;
-- name: delete by id
-- write
delete from bank.cards where id = 9;
-- name: delete with using
-- write
delete from bank.cards k using bank.accounts a where a.id = k.account_id and a.currency = 'GBP' returning k.id;
-- name: delete returning a masked column
-- write
-- masks: pan
delete from bank.cards where id = 11 returning id, pan;
-- name: data-modifying CTE
-- write
with moved as (delete from bank.transfers where booked < date '2024-01-10' returning account_id, amount, booked) insert into bank.audit (actor, action, details) select 'mover', 'moved', jsonb_build_object('n', count(*)) from moved returning details;
-- name: merge
-- write
merge into bank.settings s using (values ('theme', '"blue"'::jsonb), ('new', '1')) as v(key, value) on s.key = v.key when matched then update set value = v.value when not matched then insert (key, value) values (v.key, v.value);
-- name: select for update
select id, balance from bank.accounts where id = 5 for update;
-- name: select for update skip locked
select id from bank.transfers where account_id = 3 order by id limit 2 for update skip locked;
-- name: next invoice number
-- write
select nextval('bank.invoice_numbers') is not null as ok;
-- name: current value of a sequence
-- write
select nextval('bank.invoice_numbers') > 0 as a, currval('bank.invoice_numbers') > 0 as b;
-- name: login check of an application
select id, status from bank.clients where id = 12 and status <> 'closed' limit 1;
-- name: search with many filters
select c.id, c.full_name, b.name as branch, count(*) over () as total from bank.clients c left join bank.branches b on b.id = c.branch_id where ('active' is null or c.status = 'active') and c.created_at >= '2020-01-01' and c.full_name ilike '%client%' order by c.full_name, c.id limit 20 offset 0;
-- name: masked contact in a detail page
-- masks: email, phone
select c.full_name, c.email, c.phone, b.city, (select count(*) from bank.accounts a where a.client_id = c.id) as accounts from bank.clients c join bank.branches b on b.id = c.branch_id where c.id = 21;
-- name: list with masked cards and a computed column
-- masks: pan
select id, pan, brand, expires, expires < current_date as expired, not blocked as usable from bank.cards order by id limit 10;
-- name: aggregated JSON of clear columns
select b.name, coalesce(json_agg(json_build_object('id', c.id, 'name', c.full_name) order by c.id) filter (where c.id is not null), '[]') as clients from bank.branches b left join bank.clients c on c.branch_id = b.id group by b.id, b.name order by b.id;
-- name: aggregated JSON with a masked column
-- masks: clients
select b.name, json_agg(json_build_object('id', c.id, 'mail', c.email) order by c.id) as clients from bank.branches b join bank.clients c on c.branch_id = b.id group by b.id, b.name order by b.id;
-- name: whole row of a masked table as JSON
-- masks: row_to_json
select row_to_json(c) from bank.clients c where id = 5;
-- name: whole row of a masked table
-- masks: c
select c from bank.clients c where id = 5;
-- name: list of e-mail addresses in one text
-- masks: mails
select string_agg(email, ', ' order by id) as mails from bank.clients where branch_id = 1;
-- name: e-mail addresses as an array
-- masks: mails
select array_agg(email order by id) as mails from bank.clients where branch_id = 1;
-- name: find a client by e-mail address
-- touches: masked
-- masks: email
select id, full_name, email from bank.clients where email = 'person3@mail.example';
-- name: order by a masked column
-- touches: masked
select id, full_name from bank.clients order by birth_date limit 3;
-- name: age of clients
-- masks: age
-- touches: masked
select id, date_part('year', age(date '2024-01-01', birth_date)) as age from bank.clients order by id limit 3;
-- name: is there a phone number
-- masks: has_phone
-- touches: masked
select id, phone is not null as has_phone from bank.clients order by id limit 3;
-- name: average salary
-- masks: avg
-- touches: masked
select department_id, avg(salary) from hr.employees group by department_id order by department_id;
-- name: the last four digits
-- masks: last4
select id, right(pan, 4) as last4 from bank.cards order by id limit 3;
-- name: masked text trimmed and lowered
-- masks: mail
select id, lower(trim(email)) as mail from bank.clients order by id limit 3;
-- name: masked column cast
-- masks: b
select id, birth_date::text as b from bank.clients order by id limit 3;
-- name: format with a masked column
-- masks: format
select format('%s (%s)', full_name, email) from bank.clients order by id limit 3;
-- name: savepoint and release
savepoint s; update bank.settings set value = '1' where key = 'theme'; rollback to savepoint s; release savepoint s;
-- name: two statements in one query
select 1 as a; select count(*) from bank.branches;
-- name: explain
select 1;
-- name: explain a clear query
explain (costs off) select count(*) from bank.branches where city = 'Paris';
-- name: explain a query on a masked table that reads clear columns
explain (costs off) select id from bank.clients where branch_id = 2;
-- name: explain in JSON
explain (costs off, format json) select name from bank.branches order by id;
-- name: show settings
show server_version; show search_path; show timezone;
-- name: session functions
select current_user is not null as u, current_database() is not null as d, version() like 'PostgreSQL%' as v, pg_backend_pid() > 0 as p, now() is not null as n, current_setting('server_encoding') as e;
-- name: set local
set local statement_timeout = '5s'; show statement_timeout;
-- name: set search path and use it
set local search_path = bank, public; select count(*) from clients; select id, name from branches order by id limit 1;
-- name: set work_mem
set local work_mem = '16MB';
-- name: temporary table
-- write
create temp table chosen (id int primary key, note text) on commit drop; insert into chosen select id, 'x' from bank.branches; select count(*) from chosen;
-- name: temporary table as select of clear columns
-- write
create temp table picked on commit drop as select id, full_name from bank.clients where status = 'active'; select count(*) from picked;
-- name: prepare and execute
prepare by_id (int) as select id, full_name from bank.clients where id = $1; execute by_id(3); execute by_id(4); deallocate by_id;
-- name: prepare and execute with a masked column
-- masks: email
prepare mail_of (int) as select email from bank.clients where id = $1; execute mail_of(3); deallocate mail_of;
-- name: cursor
declare c cursor for select id, name from bank.branches order by id; fetch 2 from c; fetch all from c; close c;
-- name: cursor over a masked column
-- masks: phone
declare c scroll cursor for select id, phone from bank.clients order by id; fetch 2 from c; move 5 in c; fetch backward 1 from c; close c;
-- name: copy out a clear table
copy bank.branches to stdout;
-- name: copy out as csv
copy (select id, full_name from bank.clients order by id) to stdout with (format csv, header);
-- name: lock table
lock table bank.settings in share mode;
-- name: advisory transaction lock
select pg_try_advisory_xact_lock(42);
-- name: listen is harmless
select 'x'::text as x where exists (select 1 from bank.branches);
-- name: comments and odd spelling
/* report */ SELECT "id" AS "Branch Id", "name" FROM "bank"."branches" -- all
ORDER BY "id" ASC NULLS LAST LIMIT 2;
-- name: dollar quotes and unicode
select $q$it's$q$ as a, U&'\0041' as b, E'tab\there' as c, 'größe' as d, '😀' as e;
-- name: types of constants
select 1::int2 as a, 2::int8 as b, 1.5::float4 as c, 2.5::float8 as d, true as e, '12:30'::time as f, '2024-02-03'::date as g, '1 day'::interval as h, '{1,2}'::int[] as i, '{"a":1}'::jsonb as j, 'a=>b'::text as k, '10.0.0.1'::inet as l, '00000000-0000-0000-0000-000000000001'::uuid as m, '\xdead'::bytea as n, '<a/>'::xml is document as o;
-- name: null handling
select null::text as a, nullif(1, 1) as b, coalesce(null, 2) as c, 1 is distinct from null as d;
-- name: empty result
select id, email from bank.clients where false;
-- name: count of a masked table by status
select status, count(*) from bank.clients group by status order by status;
-- name: enum order and cast
select unnest(enum_range(null::bank.client_status))::text as s;
-- name: employees and departments
select d.name, array_agg(e.name order by e.name) as people from hr.departments d left join hr.employees e on e.department_id = d.id group by d.id, d.name order by d.id;
-- name: masked json column
-- masks: personal
select id, personal from hr.employees order by id limit 3;
-- name: field of a masked json column
-- masks: passport
select id, personal ->> 'passport' as passport from hr.employees order by id limit 3;
-- name: salary in two places
-- masks: salary, raised
select id, salary, salary * 1.1 as raised from hr.employees order by id limit 3;
-- name: greatest of masked numbers
-- masks: most
-- touches: masked
select max(salary) as most from hr.employees;
