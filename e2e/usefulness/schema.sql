-- The schema of the usefulness corpus: TPC-H's eight tables and a small bank beside them, filled by formulas so that every run sees the same rows.
-- Masked columns: customer.c_phone, customer.c_acctbal, supplier.s_phone, bank.clients.(ssn, email, phone, birth_date), bank.cards.pan, bank.accounts.iban, hr.employees.(salary, personal).
create schema bank;
create schema hr;

create table region(r_regionkey int primary key, r_name text not null, r_comment text);
create table nation(n_nationkey int primary key, n_name text not null, n_regionkey int not null references region, n_comment text);
create table supplier(s_suppkey int primary key, s_name text not null, s_address text not null, s_nationkey int not null references nation, s_phone char(15) not null, s_acctbal numeric(15,2) not null, s_comment text);
create table part(p_partkey int primary key, p_name text not null, p_mfgr text not null, p_brand text not null, p_type text not null, p_size int not null, p_container text not null, p_retailprice numeric(15,2) not null, p_comment text);
create table partsupp(ps_partkey int not null references part, ps_suppkey int not null references supplier, ps_availqty int not null, ps_supplycost numeric(15,2) not null, ps_comment text, primary key (ps_partkey, ps_suppkey));
create table customer(c_custkey int primary key, c_name text not null, c_address text not null, c_nationkey int not null references nation, c_phone char(15) not null, c_acctbal numeric(15,2) not null, c_mktsegment text not null, c_comment text);
create table orders(o_orderkey int primary key, o_custkey int not null references customer, o_orderstatus char(1) not null, o_totalprice numeric(15,2) not null, o_orderdate date not null, o_orderpriority text not null, o_clerk text not null, o_shippriority int not null, o_comment text);
create table lineitem(l_orderkey int not null references orders, l_partkey int not null, l_suppkey int not null, l_linenumber int not null, l_quantity numeric(15,2) not null, l_extendedprice numeric(15,2) not null, l_discount numeric(15,2) not null, l_tax numeric(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null, l_shipinstruct text not null, l_shipmode text not null, l_comment text, primary key (l_orderkey, l_linenumber), foreign key (l_partkey, l_suppkey) references partsupp);
create index lineitem_shipdate on lineitem(l_shipdate);
create index orders_custkey on orders(o_custkey);

insert into region select i, (array['AFRICA','AMERICA','ASIA','EUROPE','MIDDLE EAST'])[i + 1], 'region ' || i from generate_series(0, 4) i;
insert into nation select i, (array['ALGERIA','ARGENTINA','BRAZIL','CANADA','EGYPT','ETHIOPIA','FRANCE','GERMANY','INDIA','INDONESIA','IRAN','IRAQ','JAPAN','JORDAN','KENYA','MOROCCO','MOZAMBIQUE','PERU','CHINA','ROMANIA','SAUDI ARABIA','VIETNAM','RUSSIA','UNITED KINGDOM','UNITED STATES'])[i + 1], (array[0,1,1,1,4,0,3,3,2,2,4,4,2,4,0,0,0,1,2,3,4,2,3,3,1])[i + 1], 'nation ' || i from generate_series(0, 24) i;
insert into supplier select i, 'Supplier#' || lpad(i::text, 9, '0'), 'street ' || i, i % 25, '2' || (i % 9) || '-555-77' || i % 10 || '-' || lpad(i::text, 4, '0'), 1000 + i * 17.5, 'comment ' || i from generate_series(1, 20) i;
insert into part select i, (array['forest','green','almond','antique','blue'])[i % 5 + 1] || ' part ' || i, 'Manufacturer#' || (i % 5 + 1), 'Brand#' || (i % 5 + 1) || (i % 3 + 1), (array['PROMO','ECONOMY','STANDARD'])[i % 3 + 1] || ' ' || (array['ANODIZED','POLISHED','BURNISHED'])[i % 3 + 1] || ' ' || (array['STEEL','BRASS','TIN'])[i / 3 % 3 + 1], i % 50 + 1, (array['SM CASE','MED BOX','LG PACK','JUMBO JAR'])[i % 4 + 1], 900 + i, 'part comment ' || i from generate_series(1, 60) i;
insert into partsupp select p, (p + k * 5) % 20 + 1, (p * 7 + k) % 1000, 10 + p + k, 'ps comment' from generate_series(1, 60) p, generate_series(0, 2) k;
insert into customer select i, 'Customer#' || lpad(i::text, 9, '0'), 'avenue ' || i, i % 25, '1' || (i % 9) || '-444-88' || i % 10 || '-' || lpad((7000 + i)::text, 4, '0'), 98000 + i * 13.37, (array['BUILDING','AUTOMOBILE','MACHINERY','HOUSEHOLD','FURNITURE'])[i % 5 + 1], 'customer comment ' || i from generate_series(1, 50) i;
insert into orders select i, i % 50 + 1, (array['F','O','P'])[i % 3 + 1], 1000 + i * 11.5, date '1994-01-01' + i % 700, (array['1-URGENT','2-HIGH','3-MEDIUM','4-NOT SPECIFIED','5-LOW'])[i % 5 + 1], 'Clerk#' || i % 10, 0, 'order comment ' || i from generate_series(1, 300) i;
insert into lineitem select o, (o + n) % 60 + 1, ((o + n) % 60 + 1 + (n % 3) * 5) % 20 + 1, n, o % 50 + 1, 900 + o * 3, (o % 10) / 100.0, (o % 8) / 100.0, (array['R','A','N'])[o % 3 + 1], (array['O','F'])[n % 2 + 1], date '1994-01-10' + (o + n) % 700, date '1994-01-20' + o % 700, date '1994-01-25' + (o + n * 3) % 700, (array['DELIVER IN PERSON','COLLECT COD','NONE'])[n % 3 + 1], (array['AIR','MAIL','SHIP','RAIL','TRUCK'])[o % 5 + 1], 'line comment' from generate_series(1, 300) o, generate_series(1, 4) n;

create domain bank.iban_text as text;
create type bank.client_status as enum ('lead', 'active', 'closed');
create type bank.address as (street text, city text, zip text);
create table bank.branches(id int primary key, name text not null, city text not null, opened date not null default '2001-05-05');
create table bank.clients(id int generated by default as identity primary key, branch_id int references bank.branches, full_name text not null, ssn text unique, email text, phone text, birth_date date, status bank.client_status not null default 'lead', address bank.address, tags text[] not null default '{}', preferences jsonb not null default '{}', created_at timestamptz not null default '2024-01-01 12:00:00+00', updated_at timestamptz);
create table bank.accounts(id bigint generated by default as identity primary key, client_id int not null references bank.clients on delete cascade, iban bank.iban_text unique, currency char(3) not null default 'EUR', balance numeric(18,2) not null default 0, opened date not null default '2024-02-02', closed date);
create table bank.cards(id int primary key, account_id bigint references bank.accounts, pan text not null, brand text not null, expires date not null, blocked boolean not null default false);
create table bank.transfers(id bigint generated by default as identity, account_id bigint not null, amount numeric(18,2) not null, booked date not null, purpose text, primary key (id, booked)) partition by range (booked);
create table bank.transfers_2024 partition of bank.transfers for values from ('2024-01-01') to ('2025-01-01');
create table bank.transfers_2025 partition of bank.transfers for values from ('2025-01-01') to ('2026-01-01');
create table bank.audit(id bigint generated by default as identity primary key, at timestamptz not null default '2024-03-03 00:00:00+00', actor text not null, action text not null, details jsonb);
create table bank.settings(key text primary key, value jsonb not null);
create view bank.client_list as select id, full_name, status, branch_id, created_at from bank.clients;
create view bank.client_contacts as select c.id, c.full_name, c.email, c.phone, b.name as branch from bank.clients c left join bank.branches b on b.id = c.branch_id;
create materialized view bank.branch_totals as select b.id, b.name, count(distinct c.id) as clients, coalesce(sum(a.balance), 0) as balance from bank.branches b left join bank.clients c on c.branch_id = b.id left join bank.accounts a on a.client_id = c.id group by b.id, b.name;
create index clients_name on bank.clients(full_name);
create index clients_preferences on bank.clients using gin(preferences);
create sequence bank.invoice_numbers start 1000;
create table bank.invoices(number bigint primary key default nextval('bank.invoice_numbers'), client_id int references bank.clients, total numeric(18,2) not null);
create function bank.full_years(date, date) returns int language sql immutable as 'select extract(year from age($2, $1))::int';
create function bank.touch() returns trigger language plpgsql as 'begin new.updated_at := ''2024-06-06 00:00:00+00''; return new; end';
create trigger clients_touch before update on bank.clients for each row execute function bank.touch();
comment on table bank.clients is 'people and firms';

insert into bank.branches select i, 'Branch ' || i, (array['Berlin','Paris','Madrid'])[i % 3 + 1] from generate_series(1, 6) i;
insert into bank.clients(id, branch_id, full_name, ssn, email, phone, birth_date, status, address, tags, preferences)
  select i, i % 6 + 1, 'Client ' || i, lpad((500 + i)::text, 3, '0') || '-2' || i % 10 || '-7' || lpad((i * 37 % 1000)::text, 3, '0'), 'person' || i || '@mail.example', '+49301' || lpad((i * 7919 % 1000000)::text, 6, '0'), date '1950-06-07' + i * 301,
    (array['lead','active','closed'])[i % 3 + 1]::bank.client_status, row('Street ' || i, (array['Berlin','Paris','Madrid'])[i % 3 + 1], lpad((10000 + i)::text, 5, '0'))::bank.address, array['t' || i % 3, 'vip'], jsonb_build_object('language', (array['de','fr','es'])[i % 3 + 1], 'newsletter', i % 2 = 0) from generate_series(1, 40) i;
insert into bank.accounts(id, client_id, iban, currency, balance) select i, i % 40 + 1, 'DE' || lpad((i * 97 % 90 + 10)::text, 2, '0') || '37040044' || lpad((i * 104729 % 10000000000)::text, 10, '0'), (array['EUR','USD','GBP'])[i % 3 + 1], i * 123.45 from generate_series(1, 60) i;
insert into bank.cards select i, i % 60 + 1, '4539' || lpad((i * 7368787 % 1000000000000)::text, 12, '0'), (array['visa','mastercard'])[i % 2 + 1], date '2027-01-01' + i, i % 7 = 0 from generate_series(1, 50) i;
insert into bank.transfers(id, account_id, amount, booked, purpose) select i, i % 60 + 1, (i % 21 - 10) * 10.5, date '2024-01-01' + i % 700, 'purpose ' || i % 13 from generate_series(1, 400) i;
insert into bank.audit(actor, action, details) select 'user' || i % 5, (array['login','update','delete'])[i % 3 + 1], jsonb_build_object('n', i) from generate_series(1, 30) i;
insert into bank.settings values ('theme', '"dark"'), ('limits', '{"daily": 1000}');

create table hr.departments(id int primary key, name text not null, parent_id int references hr.departments);
create table hr.employees(id int primary key, department_id int references hr.departments, manager_id int references hr.employees, name text not null, title text not null, salary int not null, personal jsonb, hired date not null);
insert into hr.departments values (1, 'Board', null), (2, 'Engineering', 1), (3, 'Sales', 1), (4, 'Platform', 2);
insert into hr.employees select i, i % 4 + 1, case when i > 1 then i / 2 end, 'Employee ' || i, (array['Engineer','Analyst','Manager'])[i % 3 + 1], 71000 + i * 913, jsonb_build_object('passport', 'C01X' || lpad((i * 7349 % 100000)::text, 5, '0')), date '2015-01-01' + i * 45 from generate_series(1, 25) i;
select setval('bank.clients_id_seq', 1000), setval('bank.accounts_id_seq', 1000), setval('bank.transfers_id_seq', 1000);
refresh materialized view bank.branch_totals;
analyze;
