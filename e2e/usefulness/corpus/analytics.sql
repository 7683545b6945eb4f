-- Questions of analysts in the style of TPC-DS: windows, grouping sets, recursive and lateral queries. None needs a masked value, some show one.

-- name: running total
select o_custkey, o_orderdate, o_totalprice, sum(o_totalprice) over (partition by o_custkey order by o_orderdate, o_orderkey rows unbounded preceding) as running from orders order by 1, 2, 3 limit 50;
-- name: rank per group
select * from (select p_brand, p_partkey, p_retailprice, rank() over (partition by p_brand order by p_retailprice desc) as place from part) ranked where place <= 2 order by p_brand, place;
-- name: top n per group lateral
select n.n_name, c.c_name from nation n cross join lateral (select c_name from customer where c_nationkey = n.n_nationkey order by c_custkey desc limit 2) c order by 1, 2;
-- name: rollup
select coalesce(o_orderstatus::text, 'all') as status, coalesce(o_orderpriority, 'all') as priority, count(*), sum(o_totalprice) from orders group by rollup (o_orderstatus, o_orderpriority) order by 1, 2;
-- name: cube
select p_mfgr, p_container, count(*), grouping(p_mfgr, p_container) from part group by cube (p_mfgr, p_container) order by 4, 1, 2;
-- name: grouping sets
select n_regionkey, c_mktsegment, count(*) from customer join nation on n_nationkey = c_nationkey group by grouping sets ((n_regionkey), (c_mktsegment), ()) order by 1, 2;
-- name: filter clause
select l_shipmode, count(*) filter (where l_returnflag = 'R') as returned, avg(l_quantity) filter (where l_linestatus = 'O') as open_quantity from lineitem group by l_shipmode order by 1;
-- name: month over month
with monthly as (select date_trunc('month', o_orderdate) as month, sum(o_totalprice) as total from orders group by 1) select month, total, total - lag(total) over (order by month) as change, round(100 * total / nullif(lag(total) over (order by month), 0), 1) as percent from monthly order by month;
-- name: moving average
select o_orderdate, avg(sum(o_totalprice)) over (order by o_orderdate rows between 6 preceding and current row) from orders group by o_orderdate order by 1 limit 40;
-- name: median and percentiles
select l_shipmode, percentile_cont(0.5) within group (order by l_extendedprice) as median, percentile_disc(array[0.25, 0.75]) within group (order by l_quantity) as quartiles, mode() within group (order by l_returnflag) from lineitem group by 1 order by 1;
-- name: ntile
select bucket, min(p_retailprice), max(p_retailprice), count(*) from (select p_retailprice, ntile(4) over (order by p_retailprice) as bucket from part) t group by bucket order by bucket;
-- name: first and last value
select distinct o_custkey, first_value(o_orderkey) over w as first_order, last_value(o_orderkey) over w as last_order from orders window w as (partition by o_custkey order by o_orderdate, o_orderkey rows between unbounded preceding and unbounded following) order by 1;
-- name: histogram
select width_bucket(l_extendedprice, 0, 2000, 10) as bucket, count(*) from lineitem group by 1 order by 1;
-- name: pivot by case
select o_custkey, sum(case when o_orderstatus = 'F' then 1 else 0 end) as f, sum(case when o_orderstatus = 'O' then 1 else 0 end) as o from orders group by 1 order by 1;
-- name: recursive department tree
with recursive tree as (select id, name, parent_id, 1 as depth, name::text as path from hr.departments where parent_id is null union all select d.id, d.name, d.parent_id, t.depth + 1, t.path || ' / ' || d.name from hr.departments d join tree t on d.parent_id = t.id) select depth, path from tree order by path;
-- name: recursive managers
with recursive chain(id, name, manager_id, depth) as (select id, name, manager_id, 0 from hr.employees where manager_id is null union all select e.id, e.name, e.manager_id, depth + 1 from hr.employees e join chain on e.manager_id = chain.id) select depth, count(*) from chain group by depth order by depth;
-- name: calendar of gaps
select d::date as day, count(o_orderkey) from generate_series(date '1994-01-01', date '1994-01-20', interval '1 day') d left join orders on o_orderdate = d::date group by 1 order by 1;
-- name: set operations
(select n_name from nation where n_regionkey = 3 except select n_name from nation where n_name like 'G%') union all (select r_name from region intersect select 'ASIA') order by 1;
-- name: anti join
select c_custkey, c_name from customer c where not exists (select 1 from orders o where o.o_custkey = c.c_custkey and o.o_totalprice > 4000) order by 1;
-- name: semi join by in
select p_name from part where p_partkey in (select ps_partkey from partsupp where ps_supplycost < 25) order by p_partkey;
-- name: array aggregate
select n_regionkey, array_agg(n_name order by n_name) as nations, string_agg(n_name, ', ' order by n_name desc) from nation group by 1 order by 1;
-- name: json documents of orders
select o_orderkey, json_build_object('date', o_orderdate, 'lines', (select json_agg(json_build_object('n', l_linenumber, 'quantity', l_quantity) order by l_linenumber) from lineitem where l_orderkey = o_orderkey)) as document from orders where o_orderkey <= 5 order by 1;
-- name: whole rows without masked columns
select row_to_json(n) from nation n order by n_nationkey limit 3;
-- name: whole rows as jsonb
select to_jsonb(o) - 'o_comment' as o from orders o order by o_orderkey limit 3;
-- name: jsonb aggregate of whole rows
select jsonb_agg(r order by r.r_regionkey) from region r;
-- name: count of people
select count(*), count(distinct status), min(created_at), max(created_at) from bank.clients;
-- name: clients per branch
select b.name, count(c.id) as clients, count(c.id) filter (where c.status = 'active') as active from bank.branches b left join bank.clients c on c.branch_id = b.id group by b.id, b.name order by b.name;
-- name: share of known e-mail addresses
-- touches: masked
select count(email) as known, count(*) - count(email) as unknown from bank.clients;
-- name: balance per currency
select currency, sum(balance), avg(balance), count(*) from bank.accounts group by currency having sum(balance) > 0 order by 1;
-- name: transfers per month over partitions
select date_trunc('month', booked)::date as month, sum(amount), count(*) from bank.transfers group by 1 order by 1;
-- name: one partition
select count(*), max(amount) from bank.transfers_2024;
-- name: purpose ranking
select purpose, sum(amount) as total, dense_rank() over (order by sum(amount) desc) as place from bank.transfers group by purpose order by place, purpose;
-- name: largest accounts with their owners
select c.full_name, a.currency, a.balance from bank.accounts a join bank.clients c on c.id = a.client_id order by a.balance desc limit 10;
-- name: owners and their e-mail addresses
-- masks: email
select c.id, c.full_name, c.email, sum(a.balance) as total from bank.clients c join bank.accounts a on a.client_id = c.id group by c.id, c.full_name order by total desc limit 10;
-- name: cards near their end
-- masks: pan
select k.id, k.pan, k.brand, k.expires, c.full_name from bank.cards k join bank.accounts a on a.id = k.account_id join bank.clients c on c.id = a.client_id where k.expires < date '2027-01-20' order by k.expires;
-- name: view without masked columns
select status, count(*) from bank.client_list group by status order by status;
-- name: view with masked columns, the others
select id, full_name, branch from bank.client_contacts order by id limit 10;
-- name: view with masked columns, whole
-- masks: email, phone
select * from bank.client_contacts order by id limit 10;
-- name: materialized view
select name, clients, balance from bank.branch_totals order by name;
-- name: SQL function over a clear column
select id, bank.full_years(hired, date '2024-01-01') as years from hr.employees order by id limit 5;
-- name: salaries shown
-- masks: salary
select id, name, title, salary from hr.employees order by id;
-- name: headcount by title
select title, count(*), min(hired), max(hired) from hr.employees group by title order by title;
-- name: employees with their managers
select e.name, m.name as manager from hr.employees e left join hr.employees m on m.id = e.manager_id order by e.id;
-- name: self join on clear columns of a masked table
select a.id, b.id from bank.clients a join bank.clients b on a.branch_id = b.branch_id and a.id < b.id order by 1, 2 limit 20;
-- name: languages in preferences
select preferences ->> 'language' as language, count(*) from bank.clients group by 1 order by 1;
-- name: jsonb containment
select id from bank.clients where preferences @> '{"newsletter": true}' order by id;
-- name: unnest tags
select tag, count(*) from bank.clients, unnest(tags) as tag group by tag order by tag;
-- name: parts of a composite
select (address).city, count(*) from bank.clients group by 1 order by 1;
-- name: values list joined
select v.code, count(o_orderkey) from (values ('F'), ('O'), ('P'), ('X')) as v(code) left join orders on o_orderstatus = v.code group by v.code order by 1;
-- name: case and coalesce on clear columns
select id, case status when 'active' then 'yes' when 'closed' then 'no' else 'maybe' end as answer, coalesce(updated_at, created_at) from bank.clients order by id limit 5;
-- name: distinct on
select distinct on (client_id) client_id, id, balance from bank.accounts order by client_id, balance desc;
-- name: full outer join using
select branch_id, c.n, d.m from (select branch_id, count(*) as n from bank.clients group by 1) c full outer join (select id as branch_id, count(*) as m from bank.branches group by 1) d using (branch_id) order by 1;
-- name: natural join
select count(*) from (select id as branch_id, name from bank.branches) b natural join bank.clients;
-- name: tablesample
select count(*) >= 0 from orders tablesample system (50) repeatable (1);
-- name: correlated scalar subquery
select b.name, (select max(c.created_at) from bank.clients c where c.branch_id = b.id) as newest from bank.branches b order by b.id;
-- name: correlated scalar subquery of a masked column
-- masks: email
select b.name, (select c.email from bank.clients c where c.branch_id = b.id order by c.id limit 1) as email from bank.branches b order by b.id;
-- name: masked column through a CTE and an alias
-- masks: contact
with people as (select id, email as contact from bank.clients) select p.contact, p.id from people p order by p.id limit 5;
-- name: masked column through union all
-- masks: value
select 'mail' as kind, email as value from bank.clients where id < 3 union all select 'phone', phone from bank.clients where id < 3;
-- name: masked column in upper case
-- masks: e
select id, upper(email) as e from bank.clients order by id limit 3;
-- name: concatenation with a masked column
-- masks: label
select id, full_name || ' <' || email || '>' as label from bank.clients order by id limit 3;
-- name: coalesce of masked columns
-- masks: reach
select id, coalesce(email, phone, 'none') as reach from bank.clients order by id limit 3;
-- name: case of masked columns
-- masks: shown
select id, case when status = 'active' then email else 'hidden' end as shown from bank.clients order by id limit 6;
-- name: date functions
select date_part('year', o_orderdate) as year, to_char(o_orderdate, 'Mon') as month, extract(dow from o_orderdate) as day, age(date '1996-01-01', o_orderdate) from orders order by o_orderkey limit 5;
-- name: text functions
select upper(p_name), lower(p_brand), initcap(p_type), left(p_name, 3), right(p_name, 2), length(p_name), replace(p_name, 'part', 'PART'), split_part(p_name, ' ', 1), regexp_replace(p_name, '[0-9]+', '#') from part order by p_partkey limit 5;
-- name: math
select round(p_retailprice, 1), floor(p_retailprice), ceil(p_retailprice), power(p_size, 2), sqrt(p_size), ln(p_size), mod(p_size, 7), sign(p_size - 10), greatest(p_size, 10), least(p_size, 10) from part order by p_partkey limit 5;
-- name: generate series with ordinality
select n, x from generate_series(10, 12) with ordinality as g(x, n);
-- name: regression aggregates
select corr(l_quantity, l_extendedprice), regr_slope(l_extendedprice, l_quantity), stddev(l_quantity), var_pop(l_quantity) from lineitem;
-- name: boolean aggregates
select bool_and(blocked), bool_or(blocked), every(expires > date '2026-01-01') from bank.cards;
-- name: exists per row
select id, exists (select 1 from bank.accounts a where a.client_id = c.id and a.balance > 5000) as rich from bank.clients c order by id limit 10;
-- name: row comparison
select o_orderkey from orders where (o_custkey, o_orderkey) > (10, 100) order by o_custkey, o_orderkey limit 5;
-- name: keyset pagination
select id, full_name from bank.clients where (full_name, id) > ('Client 2', 2) order by full_name, id limit 5;
-- name: limit and offset with a masked column
-- masks: phone
select id, phone from bank.clients order by id offset 10 limit 5;
-- name: fetch first with ties
select title, hired from hr.employees order by title fetch first 3 rows with ties;
-- name: between symmetric and in lists
select count(*) from lineitem where l_quantity between symmetric 40 and 10 and l_shipmode = any (array['AIR', 'MAIL']) and l_returnflag not in ('A');
-- name: like and regular expressions
select count(*) filter (where p_name like 'forest%'), count(*) filter (where p_name ilike '%PART 1%'), count(*) filter (where p_name ~ '^[a-g]'), count(*) filter (where p_name similar to '%(1|2)') from part;
-- name: full text search
select p_partkey, ts_rank(to_tsvector('english', p_name), to_tsquery('english', 'green & part')) as rank from part where to_tsvector('english', p_name) @@ plainto_tsquery('english', 'green') order by rank desc, 1 limit 5;
-- name: interval arithmetic
select o_orderkey, o_orderdate + interval '2 weeks' as due, o_orderdate - date '1994-01-01' as days from orders order by 1 limit 3;
-- name: time zones
select created_at at time zone 'Europe/Berlin' as local, date_trunc('hour', created_at) from bank.clients order by id limit 2;
-- name: jsonb paths
select key, value, value #>> '{daily}' as daily, jsonb_typeof(value), jsonb_path_query_array(value, '$.*') from bank.settings order by key;
-- name: jsonb each
select e.key, e.value from bank.settings, jsonb_each_text('{"a": "1", "b": "2"}') e where bank.settings.key = 'theme' order by 1;
-- name: lateral with aggregates
select c.id, t.n, t.total from bank.clients c left join lateral (select count(*) as n, sum(balance) as total from bank.accounts a where a.client_id = c.id) t on true order by c.id limit 10;
-- name: materialized CTE
with big as materialized (select o_orderkey, o_totalprice from orders where o_totalprice > 3000) select count(*), min(o_totalprice) from big;
-- name: union of partitions
select 'old' as part, count(*) from bank.transfers_2024 union all select 'new', count(*) from bank.transfers_2025;
-- name: masked value passed through a subquery in from
-- masks: s_phone
select s.s_name, s.s_phone from (select * from supplier order by s_suppkey limit 4) s;
-- name: star of a masked table
-- masks: ssn, email, phone, birth_date
select * from bank.clients order by id limit 5;
-- name: star of a join
-- masks: iban, pan
select * from bank.accounts a join bank.cards k on k.account_id = a.id order by k.id limit 5;
-- name: table command
table bank.branches;
-- name: count distinct of several
select count(distinct (o_custkey, o_orderstatus)) from orders;
-- name: arrays of arrays
select array[array[1, 2], array[3, 4]] as m, array_length(tags, 1), tags[1], 'vip' = any (tags), array_to_string(tags, '|') from bank.clients order by id limit 3;
-- name: ranges
select daterange(opened, closed) as open, opened <@ daterange('2024-01-01', '2025-01-01') from bank.accounts order by id limit 3;
-- name: overlapping windows
select o_orderkey, count(*) over w1 as a, sum(o_totalprice) over w2 as b from orders window w1 as (partition by o_orderstatus), w2 as (w1 order by o_orderdate range between interval '7 days' preceding and current row) order by 1 limit 10;
-- name: cumulative distribution
select p_partkey, percent_rank() over (order by p_retailprice), cume_dist() over (order by p_retailprice) from part order by 1 limit 5;
-- name: hypothetical rank
select rank(950.0) within group (order by p_retailprice) from part;
