\set wallet random(1, :wallets)
BEGIN;
SELECT settled, held, seq FROM wallet WHERE id = :wallet FOR UPDATE;
UPDATE wallet SET settled = settled - 1000000, seq = seq + 1, updated_at = now() WHERE id = :wallet;
UPDATE lot SET remaining = remaining - 1000000 WHERE id = :wallet;
INSERT INTO entry (wallet_id, kind, amount, held_delta, action, actor, occurred_at, recorded_at)
    VALUES (:wallet, 2, -1000000, 0, 'scan', 1, now(), now());
INSERT INTO answer (key, status, body)
    VALUES ((lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
             || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid,
            201, '{"action":"scan","amount":"1","unit":"credit","balance":{"settled":"999999"}}');
COMMIT;
