-- The number stays open until it is confirmed: a caller that crashed before it signed asks again and signs what it is told.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `record_anchor`(IN p_number BIGINT UNSIGNED, IN p_fingerprint VARBINARY(255), IN p_prev VARBINARY(255), IN p_from BIGINT UNSIGNED)
    MODIFIES SQL DATA
BEGIN
  DECLARE v_now DATETIME(6);
  DECLARE v_id BINARY(16) DEFAULT RANDOM_BYTES(16);
  DECLARE v_payload VARBINARY(4096);
  DECLARE v_data VARCHAR(300) DEFAULT CONCAT('{"number":', p_number, ',"fingerprint":"', LOWER(HEX(p_fingerprint)),
    '","prev":"', LOWER(HEX(p_prev)), '"}');
  DECLARE v_sealed INT UNSIGNED;
  DECLARE v_size BIGINT UNSIGNED;
  DECLARE v_head BINARY(32);
  DECLARE v_recorded BIGINT UNSIGNED;
  DECLARE v_recorded_size BIGINT UNSIGNED;
  DECLARE v_confirmed BIGINT UNSIGNED;
  DECLARE v_confirmed_sha256 BINARY(32);
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
  BEGIN
    ROLLBACK AND NO CHAIN NO RELEASE; -- or this session would go on holding the head
    RESIGNAL;
  END;
  COMMIT AND NO CHAIN NO RELEASE;
  CALL seal_backlog(1000);
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  START TRANSACTION;
  SELECT size INTO v_size FROM chain_head WHERE id = 1 FOR UPDATE;
  SELECT recorded_number, recorded_size, confirmed_number, confirmed_sha256
    INTO v_recorded, v_recorded_size, v_confirmed, v_confirmed_sha256
    FROM anchor_state WHERE id = 1 FOR UPDATE;
  IF v_data IS NULL OR p_from IS NULL OR LENGTH(p_fingerprint) <> 32
    OR p_number <> v_confirmed + 1 OR p_prev <> v_confirmed_sha256 THEN
    CALL signal_state('45N01');
  END IF;
  -- The same call again is answered as the first was.
  IF v_recorded = p_number THEN
    SELECT payload, curr_hash INTO v_payload, v_head FROM audit_events WHERE seq = v_recorded_size - 1;
  END IF;
  IF v_payload LIKE CONCAT('%,"action":"anchor",%,"data":', v_data, '}') THEN
    SET v_size = v_recorded_size;
  ELSE
    CALL record_server(FALSE, 0); -- covered by this very anchor
    CALL seal_batch(v_sealed);
    SELECT size, head INTO v_size, v_head FROM chain_head WHERE id = 1;
    SET v_now = CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00');
    SET v_payload = CONCAT('{"v":1,"id":"', BIN_TO_UUID(v_id), '","time":"', DATE_FORMAT(v_now, '%Y-%m-%dT%H:%i:%s.%fZ'),
      '","actor":', JSON_QUOTE(SESSION_USER()) COLLATE utf8mb4_0900_bin, ',"conn":', CONNECTION_ID(),
      ',"tenant":null,"table":null,"action":"anchor"',
      ',"key":null,"ver":null,"wver":null,"scheme":null,"before":null,"after":null,"sig":null,"signer":null,"data":', v_data, '}');
    INSERT INTO audit_events (seq, tenant_id, evt_id, prev_hash, payload, curr_hash)
    VALUES (v_size, REPEAT(X'00', 16), v_id, v_head, v_payload, UNHEX(SHA2(CONCAT(v_head, v_payload), 256)));
    SET v_head = UNHEX(SHA2(CONCAT(v_head, v_payload), 256)), v_size = v_size + 1;
    UPDATE chain_head SET size = v_size, head = v_head WHERE id = 1;
    UPDATE anchor_state SET recorded_number = p_number, recorded_size = v_size WHERE id = 1;
  END IF;
  COMMIT AND NO CHAIN NO RELEASE;
  SELECT v_size AS size, v_head AS head;
  SELECT seq, CAST(UNHEX(SHA2(CONCAT(X'00', payload), 256)) AS BINARY(32)) AS leaf
  FROM audit_events WHERE seq >= p_from AND seq < v_size ORDER BY seq;
END
