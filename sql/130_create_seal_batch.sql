-- Chains up to 900 committed events (cte_max_recursion_depth is 1000) in the transaction of a caller that holds the head.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `seal_batch`(OUT p_sealed INT UNSIGNED)
    MODIFIES SQL DATA
BEGIN
  DECLARE v_size BIGINT UNSIGNED;
  DECLARE v_head BINARY(32);
  DECLARE v_last_head BINARY(32);
  DECLARE v_oldest DATETIME(6);
  DECLARE v_looked DATETIME(6) DEFAULT CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00');
  SELECT size, head INTO v_size, v_head FROM chain_head WHERE id = 1;
  INSERT INTO audit_events (seq, tenant_id, evt_id, prev_hash, payload, curr_hash)
  WITH RECURSIVE queue AS (
    SELECT ROW_NUMBER() OVER (ORDER BY b.queued_at, b.tenant_id, b.evt_id) AS n, b.tenant_id, b.evt_id, b.payload
    FROM (
      SELECT queued_at, tenant_id, evt_id, payload FROM audit_pending FORCE INDEX (queued_at)
      ORDER BY queued_at, tenant_id, evt_id LIMIT 900
    ) b
  ), chain AS (
    SELECT n, tenant_id, evt_id, v_head AS prev_hash, payload,
      CAST(UNHEX(SHA2(CONCAT(v_head, payload), 256)) AS BINARY(32)) AS curr_hash
    FROM queue WHERE n = 1
    UNION ALL
    SELECT q.n, q.tenant_id, q.evt_id, c.curr_hash, q.payload,
      UNHEX(SHA2(CONCAT(c.curr_hash, q.payload), 256))
    FROM chain c JOIN queue q ON q.n = c.n + 1
  )
  SELECT v_size + n - 1, tenant_id, evt_id, prev_hash, payload, curr_hash FROM chain;
  SET p_sealed = ROW_COUNT();
  IF p_sealed > 0 THEN
    SELECT curr_hash INTO v_last_head FROM audit_events WHERE seq = v_size + p_sealed - 1;
    -- A full batch says nothing of what still waits: not older than its youngest.
    IF p_sealed = 900 THEN
      SELECT MAX(p.queued_at) INTO v_oldest
      FROM audit_events e STRAIGHT_JOIN audit_pending p ON p.tenant_id = e.tenant_id AND p.evt_id = e.evt_id
      WHERE e.seq >= v_size;
    END IF;
    DELETE p FROM audit_events e STRAIGHT_JOIN audit_pending p ON p.tenant_id = e.tenant_id AND p.evt_id = e.evt_id
    WHERE e.seq >= v_size;
    IF ROW_COUNT() <> p_sealed OR v_last_head IS NULL THEN
      SIGNAL SQLSTATE '45S01' SET MESSAGE_TEXT = 'the sealer found an inconsistency';
    END IF;
    UPDATE chain_head SET size = v_size + p_sealed, head = v_last_head WHERE id = 1;
  END IF;
  -- Once a second is enough for the gate; each idle pass would be a line of the binary log.
  UPDATE seal_state SET oldest_pending_at = v_oldest, looked_at = v_looked
  WHERE id = 1 AND (p_sealed > 0 OR looked_at IS NULL OR oldest_pending_at IS NOT NULL
    OR looked_at NOT BETWEEN v_looked - INTERVAL 1 SECOND AND v_looked);
END
