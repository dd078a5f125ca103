create table visit (at timestamptz not null);
