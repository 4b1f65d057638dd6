CREATE TABLE wallet (id bigint PRIMARY KEY, settled bigint NOT NULL, held bigint NOT NULL, seq bigint NOT NULL, updated_at datetime(6) NOT NULL);
CREATE TABLE lot (id bigint PRIMARY KEY, wallet_id bigint NOT NULL, granted bigint NOT NULL, remaining bigint NOT NULL, held bigint NOT NULL);
CREATE TABLE entry (id bigint PRIMARY KEY AUTO_INCREMENT, wallet_id bigint NOT NULL, kind smallint NOT NULL, amount bigint NOT NULL, held_delta bigint NOT NULL, action varchar(64) NOT NULL, actor bigint NOT NULL, occurred_at datetime(6) NOT NULL, recorded_at datetime(6) NOT NULL);
CREATE TABLE answer (answer_key binary(16) PRIMARY KEY, status smallint NOT NULL, body text NOT NULL);
