-- Moves money between two accounts of the tenant. Only a client can make the row MACs and signatures of the two rows.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `app_transfer`(IN p_from_id VARBINARY(255), IN p_from_version BIGINT UNSIGNED, IN p_from_balance BIGINT UNSIGNED, IN p_from_salt VARBINARY(255), IN p_from_mac VARBINARY(255), IN p_from_evt_id VARBINARY(255), IN p_from_evt_sig VARBINARY(255), IN p_to_id VARBINARY(255), IN p_to_version BIGINT UNSIGNED, IN p_to_balance BIGINT UNSIGNED, IN p_to_salt VARBINARY(255), IN p_to_mac VARBINARY(255), IN p_to_evt_id VARBINARY(255), IN p_to_evt_sig VARBINARY(255), IN p_evt_key VARBINARY(255))
    MODIFIES SQL DATA
BEGIN
  DECLARE v_nonce BINARY(16) DEFAULT IF(LENGTH(@ztmysql_nonce) = 16, CAST(@ztmysql_nonce AS BINARY), NULL);
  DECLARE v_account VARCHAR(32) DEFAULT LEFT(SESSION_USER(), CHAR_LENGTH(SESSION_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(SESSION_USER(), '@', -1)) - 1);
  DECLARE v_tenant BINARY(16);
  DECLARE v_now DATETIME(6);
  DECLARE v_oldest DATETIME(6);
  DECLARE v_looked DATETIME(6);
  DECLARE v_anchored DATETIME(6);
  DECLARE v_unsealed_limit BIGINT;
  DECLARE v_anchor_limit BIGINT;
  DECLARE v_found INT;
  DECLARE v_agree BOOLEAN;
  DECLARE v_conflict BOOLEAN;
  DECLARE v_debit VARBINARY(4096);
  DECLARE v_credit VARBINARY(4096);
  DECLARE v_fail CHAR(5);
  DECLARE v_other CHAR(5);
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;
  work: BEGIN
    DECLARE EXIT HANDLER FOR SQLEXCEPTION SET v_fail = '45W00';
    SELECT c.tenant_id, s.oldest_pending_at, s.looked_at, a.confirmed_at,
      l.unsealed_seconds * 1000000, l.anchor_seconds * 1000000
    INTO v_tenant, v_oldest, v_looked, v_anchored, v_unsealed_limit, v_anchor_limit
    FROM boot b
    JOIN tenant_context c ON c.connection_id = CONNECTION_ID()
      AND c.nonce = v_nonce AND c.boot_id = b.boot_id AND c.account = v_account
    JOIN tenant_grant g ON g.tenant_id = c.tenant_id AND g.account = c.account AND g.state = 'active'
    JOIN tenants t ON t.tenant_id = c.tenant_id AND t.state = 'active'
    JOIN seal_state s ON s.id = 1
    JOIN anchor_state a ON a.id = 1
    JOIN gate_limits l ON l.id = 1
    WHERE b.id = 1;
    SET v_now = CONVERT_TZ(SYSDATE(6), IF(LEFT(@@session.time_zone, 1) IN ('+', '-'), @@session.time_zone, NULL), '+00:00');
    SET v_fail = CASE
      WHEN v_tenant IS NULL THEN '45T01'
      WHEN v_now IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_looked, v_now) < 0
        OR TIMESTAMPDIFF(MICROSECOND, v_anchored, v_now) < 0
        OR IFNULL(TIMESTAMPDIFF(MICROSECOND, v_oldest, v_now), 0) < 0 THEN '45G03'
      WHEN v_looked IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_looked, v_now) > v_unsealed_limit
        OR IFNULL(TIMESTAMPDIFF(MICROSECOND, v_oldest, v_now), 0) > v_unsealed_limit THEN '45G01'
      WHEN v_anchored IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_anchored, v_now) > v_anchor_limit THEN '45G02'
      WHEN NOT IFNULL(LENGTH(p_from_id) = 16 AND LENGTH(p_to_id) = 16 AND p_from_id <> p_to_id
        AND p_from_version > 1 AND p_to_version > 1 AND p_from_balance IS NOT NULL AND p_to_balance IS NOT NULL
        AND LENGTH(p_from_salt) = 16 AND LENGTH(p_to_salt) = 16 AND LENGTH(p_from_mac) = 32 AND LENGTH(p_to_mac) = 32
        AND LENGTH(p_from_evt_id) = 16 AND LENGTH(p_to_evt_id) = 16 AND p_from_evt_id <> p_to_evt_id
        AND LENGTH(p_from_evt_sig) = 64 AND LENGTH(p_to_evt_sig) = 64 AND LENGTH(p_evt_key) = 32, FALSE) THEN '45W01'
    END;
    IF v_fail IS NOT NULL THEN
      LEAVE work;
    END IF;
    -- Both rows are locked in the order of the primary key, before either is written.
    SELECT COUNT(*),
      MAX(IF(r.id = p_from_id, r.version <> p_from_version - 1 OR r.evt_id <=> p_from_evt_id,
        r.version <> p_to_version - 1 OR r.evt_id <=> p_to_evt_id)),
      MIN(r.currency) = MAX(r.currency)
        AND MAX(IF(r.id = p_from_id, r.balance_minor, 0)) > p_from_balance
        AND CAST(MAX(IF(r.id = p_from_id, r.balance_minor, 0)) AS DECIMAL(21,0)) - p_from_balance
          = CAST(p_to_balance AS DECIMAL(21,0)) - MAX(IF(r.id = p_to_id, r.balance_minor, 0))
    INTO v_found, v_conflict, v_agree
    FROM accounts r FORCE INDEX (PRIMARY)
    WHERE r.tenant_id = v_tenant AND r.id IN (p_from_id, p_to_id) AND r.state = 'live'
    FOR UPDATE;
    SET v_fail = CASE
      WHEN v_found <> 2 THEN '45W06'
      WHEN v_conflict THEN '45W02'
      WHEN v_agree IS NOT TRUE THEN '45W08'
    END;
    IF v_fail IS NOT NULL THEN
      LEAVE work;
    END IF;
    UPDATE accounts SET version = p_from_version, wrap_version = 1, balance_minor = p_from_balance, salt = p_from_salt,
      mac = p_from_mac, evt_id = p_from_evt_id, evt_sig = p_from_evt_sig, evt_key = p_evt_key
    WHERE tenant_id = v_tenant AND id = p_from_id AND version = p_from_version - 1;
    UPDATE accounts SET version = p_to_version, wrap_version = 1, balance_minor = p_to_balance, salt = p_to_salt,
      mac = p_to_mac, evt_id = p_to_evt_id, evt_sig = p_to_evt_sig, evt_key = p_evt_key
    WHERE tenant_id = v_tenant AND id = p_to_id AND version = p_to_version - 1;
    SELECT MAX(IF(q.evt_id = p_from_evt_id, q.payload, NULL)), MAX(IF(q.evt_id = p_to_evt_id, q.payload, NULL))
    INTO v_debit, v_credit FROM audit_pending q
    WHERE q.tenant_id = v_tenant AND q.evt_id IN (p_from_evt_id, p_to_evt_id)
      AND NOT EXISTS (SELECT 1 FROM audit_events e WHERE e.tenant_id = v_tenant AND e.evt_id = q.evt_id);
    IF v_debit IS NULL OR v_credit IS NULL THEN
      SET v_fail = '45W04';
    END IF;
  END;
  IF v_fail IS NULL THEN
    COMMIT AND NO CHAIN NO RELEASE;
  ELSE
    ROLLBACK AND NO CHAIN NO RELEASE;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
    START TRANSACTION;
    IF v_tenant IS NOT NULL AND v_fail <> '45W01' AND LENGTH(p_from_id) = 16 AND LENGTH(p_to_id) = 16 THEN
      SET v_other = v_fail;
      -- The signature stands for the digest: it is over it.
      CALL find_receipt(v_fail, v_tenant, p_from_evt_id, 'accounts', 'update', BIN_TO_UUID(p_from_id), p_from_version,
        'accounts/1', NULL, p_from_evt_sig, p_evt_key, v_debit);
      CALL find_receipt(v_other, v_tenant, p_to_evt_id, 'accounts', 'update', BIN_TO_UUID(p_to_id), p_to_version,
        'accounts/1', NULL, p_to_evt_sig, p_evt_key, v_credit);
      -- One of the two known and the other not is no repetition.
      SET v_fail = CASE
        WHEN v_fail IS NULL AND v_other IS NULL THEN NULL
        WHEN v_fail IS NULL OR v_other IS NULL THEN '45W04'
        ELSE IF(v_other = '45W04', v_other, v_fail)
      END;
    END IF;
    COMMIT AND NO CHAIN NO RELEASE;
    IF v_fail IS NOT NULL THEN
      CALL signal_state(v_fail);
    END IF;
  END IF;
  SELECT JSON_ARRAY(CONVERT(v_debit USING utf8mb4), CONVERT(v_credit USING utf8mb4)) AS receipts;
END
