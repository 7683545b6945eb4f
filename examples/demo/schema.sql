create table customers (id int primary key generated always as identity, name text not null, ssn text not null, card text not null, email text not null, balance numeric(12,2) not null);
insert into customers (name, ssn, card, email, balance) values
  ('Alice Meyer',  '536-22-7841', '4539 6281 7305 6482', 'alice.meyer@mail.example',  1520.10),
  ('Bob Tanaka',   '691-08-3357', '5270 9341 6682 0177', 'bob.tanaka@mail.example',    310.00),
  ('Carol Nguyen', '602-31-4492', '3746 912058 37168',   'carol.nguyen@mail.example', 98044.72);
create table orders (id int primary key, customer_id int not null references customers, amount numeric(12,2) not null);
insert into orders values (1, 1, 40.00), (2, 1, 12.50), (3, 3, 990.00);
create role sallyport login password 'demo-only-target-password';
grant usage, create on schema public to sallyport;
alter table customers owner to sallyport;
alter table orders owner to sallyport;
