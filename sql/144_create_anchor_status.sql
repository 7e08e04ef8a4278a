CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `anchor_status`()
    READS SQL DATA
BEGIN
  COMMIT AND NO CHAIN NO RELEASE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY;
  START TRANSACTION;
  SELECT n.recorded_number, n.recorded_size, n.confirmed_number, n.confirmed_sha256,
    DATE_FORMAT(n.confirmed_at, '%Y-%m-%dT%H:%i:%s.%fZ') AS confirmed_at,
    DATE_FORMAT((SELECT MIN(p.queued_at) FROM audit_pending p), '%Y-%m-%dT%H:%i:%s.%fZ') AS oldest_pending_at,
    (SELECT COUNT(*) FROM audit_pending) AS pending,
    r.number AS restored_number, r.sha256 AS restored_sha256, r.anchored_size AS lost_size, r.restored_size, r.base_size, r.base_root,
    -- What the write procedures would say, in their order.
    CASE
      WHEN n.looked_age < 0 OR n.anchored_age < 0 OR IFNULL(n.oldest_age, 0) < 0 THEN '45G03'
      WHEN n.looked_age IS NULL OR n.looked_age > n.unsealed_limit OR IFNULL(n.oldest_age, 0) > n.unsealed_limit THEN '45G01'
      WHEN n.anchored_age IS NULL OR n.anchored_age > n.anchor_limit THEN '45G02'
    END AS gate
  FROM (
    SELECT a.recorded_number, a.recorded_size, a.confirmed_number, a.confirmed_sha256, a.confirmed_at,
      TIMESTAMPDIFF(MICROSECOND, s.looked_at, CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')) AS looked_age,
      TIMESTAMPDIFF(MICROSECOND, s.oldest_pending_at, CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')) AS oldest_age,
      TIMESTAMPDIFF(MICROSECOND, a.confirmed_at, CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')) AS anchored_age,
      l.unsealed_seconds * 1000000 AS unsealed_limit, l.anchor_seconds * 1000000 AS anchor_limit
    FROM anchor_state a JOIN seal_state s ON s.id = 1 JOIN gate_limits l ON l.id = 1 WHERE a.id = 1
  ) n LEFT JOIN restore_state r ON r.id = 1;
  COMMIT AND NO CHAIN NO RELEASE;
END
