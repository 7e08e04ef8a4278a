-- `gate` is the SQLSTATE with which a write would be refused now: the same cases as in front of every write.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `anchor_status`()
    READS SQL DATA
BEGIN
  DECLARE v_now DATETIME(6);
  DECLARE v_oldest DATETIME(6);
  DECLARE v_looked DATETIME(6);
  DECLARE v_anchored DATETIME(6);
  DECLARE v_unsealed_limit BIGINT;
  DECLARE v_anchor_limit BIGINT;
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
  START TRANSACTION;
  SELECT s.oldest_pending_at, s.looked_at, a.confirmed_at, l.unsealed_seconds * 1000000, l.anchor_seconds * 1000000
  INTO v_oldest, v_looked, v_anchored, v_unsealed_limit, v_anchor_limit
  FROM seal_state s JOIN anchor_state a ON a.id = 1 JOIN gate_limits l ON l.id = 1 WHERE s.id = 1;
  SET v_now = CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00');
  SELECT a.recorded_number, a.recorded_size, a.confirmed_number, a.confirmed_sha256,
    DATE_FORMAT(a.confirmed_at, '%Y-%m-%dT%H:%i:%s.%fZ') AS confirmed_at,
    DATE_FORMAT((SELECT MIN(p.queued_at) FROM audit_pending p), '%Y-%m-%dT%H:%i:%s.%fZ') AS oldest_pending_at,
    (SELECT COUNT(*) FROM audit_pending) AS pending,
    CASE
      WHEN v_now IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_looked, v_now) < 0 OR TIMESTAMPDIFF(MICROSECOND, v_anchored, v_now) < 0
        OR IFNULL(TIMESTAMPDIFF(MICROSECOND, v_oldest, v_now), 0) < 0 THEN '45G03'
      WHEN v_looked IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_looked, v_now) > v_unsealed_limit
        OR IFNULL(TIMESTAMPDIFF(MICROSECOND, v_oldest, v_now), 0) > v_unsealed_limit THEN '45G01'
      WHEN v_anchored IS NULL OR TIMESTAMPDIFF(MICROSECOND, v_anchored, v_now) > v_anchor_limit THEN '45G02'
    END AS gate
  FROM anchor_state a WHERE a.id = 1;
  COMMIT AND NO CHAIN NO RELEASE;
END
